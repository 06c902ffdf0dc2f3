# A tree is copied, compared, changed and copied again.
cd "$1" || exit 1
mkdir -p source/d
for i in $(seq 1 20); do seq $((i * 100)) >"source/d/f$i"; done
ln -s d/f1 source/link
rsync -a source/ copy/ && diff -r source copy && rsync -ain source/ copy/
echo more >>source/d/f3
touch -d 2030-01-01 source/d/f3
rm source/d/f4
rsync -ai --delete source/ copy/ | grep -v '^\.d' | sort
rsync -a --inplace --no-whole-file source/d/f9 copy/d/f8 && cmp source/d/f9 copy/d/f8
find . | sort
