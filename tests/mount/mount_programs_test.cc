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

}  // namespace
}  // namespace benchfs::test
