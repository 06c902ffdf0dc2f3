# A repository: made, changed, cloned, packed, checked.
cd "$1"
export HOME=$1 GIT_CONFIG_NOSYSTEM=1
git config --global user.name Tester
git config --global user.email tester@example.org
git config --global init.defaultBranch main
git init -q work
cd work || exit 1
for i in 1 2 3 4 5; do
  mkdir -p "directory$i"
  seq "$i" 500 >"directory$i/numbers"
  git add .
  git commit -q -m "commit $i"
done
git log --format=%s
git mv directory1 moved
git commit -q -am moved
git status --short
echo change >>moved/numbers
git diff --stat | cat
git checkout -q -- .
git checkout -q -b branch HEAD~2
echo more >more && git add more && git commit -q -m more
git merge -q -m merged main && git log --oneline | wc -l
git fsck 2>&1 | grep -v '^Checking'
git gc -q && git count-objects | cut -d' ' -f1
cd ..
git clone -q work clone
diff -r work/moved clone/moved && echo cloned
cd clone && git fsck 2>&1 | grep -v '^Checking'
git tag -m tagged v1 && git tag
git stash list
