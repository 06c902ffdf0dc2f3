# A small C project: compiled, archived, linked, run, and not compiled again.
cd "$1"
mkdir src include
cat >include/add.h <<'END'
int add(int a, int b);
END
cat >src/add.c <<'END'
#include "../include/add.h"
int add(int a, int b) { return a + b; }
END
cat >src/main.c <<'END'
#include <stdio.h>
#include "../include/add.h"
int main(void) { printf("%d\n", add(40, 2)); return 0; }
END
printf 'CC = cc\nall: program\nprogram: main.o libadd.a\n\t$(CC) -o $@ main.o -L. -ladd\nlibadd.a: add.o\n\tar rc $@ $^\n%%.o: src/%%.c include/add.h\n\t$(CC) -O1 -c -o $@ $<\nclean:\n\trm -f *.o *.a program\n' >Makefile
make
./program
make
touch src/add.c
make -j2
make clean
ls
