// Programs as they are, on a mount.
#include <string>

#include "mount/mount_fixture.h"

namespace benchfs::test {
namespace {

class MountPrograms : public MountTest {};

TEST_F(MountPrograms, AProgramThatWasCopiedInRuns) {
  Mounted m = mount();
  run_script(m.path, R"sh(
    cp /bin/bash ./shell; test "$(./shell -c 'echo from $((6 * 7))')" = 'from 42'
    printf '#!/bin/sh\necho script\n' > s; chmod +x s; test "$(./s)" = script
  )sh");
}

TEST_F(MountPrograms, CopyCompareArchiveRemove) {
  Mounted m = mount();
  run_script(m.path, R"sh(
    mkdir source; for i in $(seq 1 12); do
      mkdir -p source/d$i/deep; head -c $((i * 30011)) /dev/urandom > source/d$i/data
      echo $i > source/d$i/deep/small; ln -s ../data source/d$i/deep/link; done
    cp -a source copy; diff -r source copy
    tar cf archive.tar source; tar df archive.tar; mkdir out; tar xf archive.tar -C out
    diff -r source out/source
    test $(find source | wc -l) = 61; du -s source > /dev/null
    mv out/source moved; diff -r moved source
    rm -r source copy out moved archive.tar; test -z "$(ls -A)"
  )sh");
}

TEST_F(MountPrograms, Git) {
  Mounted m = mount();
  run_script(m.path, R"sh(
    export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
    git config --global user.name t; git config --global user.email t@example.org
    git config --global init.defaultBranch main
    git init -q work; cd work
    for i in $(seq 1 20); do echo $i > f$i; done
    git add .; git commit -qm one; echo more >> f1; git commit -qam two
    git checkout -qb side HEAD~1; echo side > f2; git commit -qam side; git merge -qm merge main
    cd ..; git clone -q work clone; cd clone; git fsck --strict; git gc -q
    test -z "$(git status --porcelain)"; test $(git log --oneline | wc -l) = 4
  )sh");
}

TEST_F(MountPrograms, SqliteWithBothJournals) {
  Mounted m = mount();
  run_script(m.path, R"sh(
    for journal in delete wal; do
      sqlite3 $journal.db "pragma journal_mode=$journal; create table t(i integer, x text);"
      for round in 1 2 3; do
        sqlite3 $journal.db "begin; with recursive n(i) as (select 1 union all select i + 1 from n
          where i < 300) insert into t select i, hex(randomblob(50)) from n; commit;"
      done
      sqlite3 $journal.db "update t set x = 'same' where i % 2 = 0; delete from t where i = 3;"
      test "$(sqlite3 $journal.db 'pragma integrity_check')" = ok
      test "$(sqlite3 $journal.db 'select count(*) from t')" = 897
    done
  )sh");
}

TEST_F(MountPrograms, Bash) {
  Mounted m = mount();
  run_script(m.path, R"sh(
    for i in {1..50}; do echo line $i >> out; done
    (sort out | tee sorted | wc -l) > count; test $(cat count) = 50
    exec 5> five; echo five >&5; exec 5>&-; exec 6< five; read -r word <&6; test $word = five
    ( cd /; echo sub > "$OLDPWD/sub" ); test $(cat sub) = sub
    cat > script <<< 'echo ran "$@"'; chmod +x script; test "$(bash ./script a b)" = 'ran a b'
    ln -s out link; test out -ef link; sed -i 's/line 7$/changed/' out; grep -q changed out
    find . -name 's*' | sort > found; test $(wc -l < found) = 3
    set -o noclobber; ! echo again > five
  )sh");
}

TEST_F(MountPrograms, Make) {
  Mounted m = mount();
  run_script(m.path, R"sh(
    printf '%s\n' 'CC = clang-19' 'objects = $(patsubst %.c,%.o,$(wildcard *.c))' \
      'program: $(objects)' '	$(CC) -o $@ $^' '%.o: %.c all.h' '	$(CC) -c -o $@ $<' > Makefile
    calls=0
    for i in 1 2 3 4; do
      echo "int part$i(void) { return $i; }" > part$i.c; echo "int part$i(void);" >> all.h
      calls="$calls + part$i()"
    done
    printf '#include "all.h"\nint main(void) { return %s; }\n' "$calls" > main.c
    make -s -j2; status=0; ./program || status=$?; test $status = 10; make -q
    echo 'int part2(void) { return 5; }' > part2.c; ! make -q
    test "$(make -s -n | grep -c -- '-c -o')" = 1
    make -s; status=0; ./program || status=$?; test $status = 13
    touch all.h; test "$(make -n | grep -c -- '-c -o')" = 5
  )sh");
}

TEST_F(MountPrograms, FioVerifiesWhatItWroteWithEveryEngine) {
  Mounted m = mount();
  run_script(m.path, R"sh(
    for engine in psync libaio mmap io_uring; do
      direct=1; test $engine != mmap || direct=0
      fio --name=$engine --ioengine=$engine --rw=randrw --bs=4k --size=4m --iodepth=8 \
        --direct=$direct --verify=crc32c --verify_fatal=1 --output=out || { cat out; exit 1; }
    done
  )sh");
}

TEST_F(MountPrograms, AVirtualEnvironment) {
  Mounted m = mount();
  run_script(m.path, R"sh(
    unset PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX PYTHONPATH
    /usr/bin/python3 -m venv --without-pip environment
    . environment/bin/activate; site=$(echo environment/lib/python3*/site-packages)
    mkdir $site/tool; echo 'value = 41' > $site/tool/__init__.py
    python - <<'END'
import importlib, os, sys, time
assert sys.prefix != sys.base_prefix and sys.prefix == os.environ["VIRTUAL_ENV"]
import tool
assert tool.value == 41 and tool.__file__.startswith(sys.prefix)
place = os.path.dirname(tool.__file__)
for i in range(20):  # modules written while it runs
    try:
        importlib.import_module(f"tool.late{i}")
        assert False
    except ModuleNotFoundError:
        pass
    with open(f"{place}/late{i}.py", "w") as file:
        file.write(f"number = {i}\n")
    assert importlib.import_module(f"tool.late{i}").number == i
END
    test "$(ls $site/tool/__pycache__ | wc -l)" = 21
    printf '#!%s\nimport tool\nprint(tool.value)\n' "$PWD/environment/bin/python" > script
    deactivate; chmod +x script; test "$(./script)" = 41
  )sh");
}

TEST_F(MountPrograms, AnEditor) {
  Mounted m = mount();
  run_script(m.path, R"sh(
    edit() {
      vim.tiny -N -u NONE -i NONE -es -c "set backup backupskip= backupdir=. backupcopy=$1" \
        -c "$2" -c wq text < /dev/null
    }
    printf 'one\ntwo\n' > text; chmod 640 text; before=$(stat -c %i text)
    edit yes '%s/two/three/'; test "$(cat text)" = "$(printf 'one\nthree')"
    test "$(cat text~)" = "$(printf 'one\ntwo')"; test $(stat -c %i text) = $before
    edit no '1d'; test "$(cat text)" = three; test "$(cat text~)" = "$(printf 'one\nthree')"
    test $(stat -c %i text) != $before; test $(stat -c %a text) = 640
    ! vim.tiny -N -u NONE -i NONE -es -c 'set swapfile directory=.' -c '%s/three/four/' \
      -c preserve -c '!kill -9 $PPID' text < /dev/null
    test -f .text.swp; test "$(cat text)" = three
    vim.tiny -N -u NONE -i NONE -es -r -c wq text < /dev/null; test "$(cat text)" = four
  )sh");
}

// Short ones; what takes more than a moment on tmpfs is left out.
TEST_F(MountPrograms, StressorsOfFileSystems) {
  Mounted m = mount();
  run_script(m.path, R"sh(
    stressors=
    for name in access chattr chmod chown dir dirdeep dup fallocate fcntl fiemap file-ioctl \
        flock fstat handle hdd io iomix io-uring lease locka lockofd mknod open rename revio \
        seek sendfile splice sync-file touch utime aio msync; do
      stressors="$stressors --$name 1 --$name-ops 10"
    done
    stress-ng --temp-path . --verify --oomable --timeout 60 --hdd-bytes 4m --dir-dirs 64 \
      --fallocate-bytes 4m --iomix-bytes 4m --aio-requests 4 --seek-size 4m \
      --dirdeep-inodes 100 --msync-bytes 4m $stressors > out 2>&1 || { cat out; exit 1; }
    ! grep -i 'fail:' out; rm out; test -z "$(ls -A)"
  )sh");
}

TEST_F(MountPrograms, Ninja) {
  Mounted m = mount();
  run_script(m.path, R"sh(
    printf 'rule copy\n command = cat $in > $out\nbuild b: copy a\nbuild c: copy b\n' > build.ninja
    echo 1 > a; ninja > log; test $(cat c) = 1
    ninja | grep -q 'no work'
    echo 2 > a; ninja > log; test $(cat c) = 2; ninja | grep -q 'no work'
  )sh");
}

TEST_F(MountPrograms, Python) {
  Mounted m = mount();
  run_script(m.path, R"sh(
    unset PYTHONDONTWRITEBYTECODE
    python3 - <<'END'
import json, mmap, os, shutil, tempfile
with tempfile.NamedTemporaryFile(dir=".") as file:
    file.write(b"x" * 100000); file.flush()
    assert os.stat(file.name).st_size == 100000
    with mmap.mmap(file.fileno(), 0) as memory:
        memory[5:8] = b"abc"
        memory.flush()
    file.seek(5)
    assert file.read(3) == b"abc"
os.makedirs("package/below")
for name in ("__init__", "part"):
    with open(f"package/{name}.py", "w") as file:
        file.write(f"name = '{name}'\n")
import sys
sys.path.insert(0, os.getcwd())
import package.part
assert package.part.name == "part"
assert os.path.isdir("package/__pycache__")
shutil.copytree("package", "copy")
names = sorted(name for _, _, names in os.walk("copy") for name in names)
assert names[0].startswith("__init__.cpython-") and len(names) == 4, names
with open("data.json", "w") as file:
    json.dump(list(range(1000)), file)
os.replace("data.json", "kept.json")
assert json.load(open("kept.json"))[-1] == 999
shutil.rmtree("package"); shutil.rmtree("copy")
END
    test "$(ls)" = kept.json
  )sh");
}

TEST_F(MountPrograms, Rsync) {
  Mounted m = mount();
  run_script(m.path, R"sh(
    mkdir -p source/d
    for i in $(seq 1 30); do head -c $((i * 1000)) /dev/urandom > source/d/f$i; done
    ln -s d/f1 source/link; rsync -a source/ copy/; diff -r source copy
    test -z "$(rsync -ain source/ copy/)"
    echo more >> source/d/f3; rm source/d/f4; rsync -a --delete source/ copy/; diff -r source copy
    rsync -a --inplace --no-whole-file source/d/f9 copy/d/f8; cmp source/d/f9 copy/d/f8
  )sh");
}

}  // namespace
}  // namespace benchfs::test
