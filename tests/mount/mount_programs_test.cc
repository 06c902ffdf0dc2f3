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
