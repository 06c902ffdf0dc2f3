# Redirections, subshells, pipes, here-documents, background jobs, the working directory.
cd "$1"
echo first >file
echo second >>file
cat file
{
  echo a
  (
    echo b
    /bin/echo c
  )
  /bin/echo d
} >group
cat group
exec 7>seven
echo through seven >&7
/bin/echo program through seven >&7
(echo subshell through seven >&7)
exec 7>&-
cat seven
exec 8<file
read -r line <&8
echo "read $line"
read -r line <&8
echo "read $line"
exec 8<&-
while read -r line; do echo "loop $line"; done <group
cat <<END >document
here is $((1 + 1))
END
cat document
cat file group | sort | uniq -c | sort -rn | head -n 2
ls none >out 2>err || echo failed
wc -l <out
sed 's/.*none/none/' err
(cd / && cat /dev/null)
mkdir -p sub/deeper
cd sub/deeper || exit 1
pwd
echo relative >../relative
cat ../relative ../../file
cd ..
pwd
ls
cd - >/dev/null
pwd
cd ../..
for name in f* g*; do echo "glob $name"; done
(sleep 0.1; echo background >job) &
wait
cat job
value=$(<file)
echo "${value%%$'\n'*}"
[ -f file ] && [ -d sub ] && [ ! -e none ] && [ file -nt none ] && echo tests
set -o noclobber
echo no >file
set +o noclobber
exec 3<>both
echo both >&3
exec 3>&-
cat both
printf '%s\n' '#!/bin/bash' 'echo "script $1 in $(basename "$PWD")"' >script
chmod +x script
./script one
"$PWD/script" two
bash script three
source /dev/stdin <<<'echo sourced'
echo 'echo from a sourced file' >library.sh
. ./library.sh
exec 5>&1 >all
echo everything
/bin/echo more
exec >&5 5>&-
cat all
(
  ulimit -S -f 4
  echo short >limited && cat limited
  ./script limited
)
# Programs that read and write wide characters.
if command -v rev >/dev/null; then
  printf 'abc\nh\303\251llo\n' >letters
  LC_ALL=C.UTF-8 rev letters
  LC_ALL=C.UTF-8 rev <letters
  LC_ALL=C.UTF-8 rev <letters >reversed
  echo "rev $?"
  cat reversed
fi
