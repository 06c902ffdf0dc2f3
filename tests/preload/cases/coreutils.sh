# cat, cp, ls, diff, rm, mv, ln, find, sort, head, tail, wc, touch, stat, chmod, du, dd, sed, tar.
cd "$1"
mkdir -p source/deep/er
echo one >source/one
seq 1 20000 >source/deep/numbers
ln -s ../one source/deep/link
printf 'no newline' >source/deep/er/text
chmod 640 source/one
cp -r source copy
diff -r source copy && echo same
cp -a source/deep archive
ls -l source | awk 'NR > 1 {print $1, $9}'
ls -R copy
ls -la source/deep | awk 'NR > 3 {print $1, $9, $10, $11}'
cat source/one source/deep/er/text
echo
wc -l source/deep/numbers
head -n 2 source/deep/numbers
tail -n 2 source/deep/numbers
tail -c 7 source/deep/numbers
sort -rn source/deep/numbers | head -n 1
sort -rn source/deep/numbers -o sorted && head -n 1 sorted
mv source/one source/two
mv -n source/two source/deep/two
ls source source/deep
touch -d '2001-02-03 04:05:06' stamp && stat -c '%y %s %F' stamp
stat -c '%a %F %N' source/deep/link
find . -type f | sort
find . -name 'num*' -size +1k | sort
find copy -depth | sort
sed -i 's/one/changed/' copy/one && cat copy/one
dd if=source/deep/numbers of=part bs=1000 count=3 skip=1 2>/dev/null && cksum part
dd if=/dev/zero of=zeros bs=4k count=3 conv=fsync 2>/dev/null && wc -c zeros
truncate -s 10 zeros && wc -c zeros
cmp part source/deep/numbers
readlink -f source/deep/link
basename "$(realpath copy/deep/../one)"
cat none
rmdir copy
mkdir copy
tee teed <copy/one >/dev/null && cat teed
cat <copy/one >redirected
cut -d' ' -f2 <<<'a b c' >>redirected
cat redirected
split -l 5000 source/deep/numbers piece- && ls piece-*
paste piece-aa piece-ab | head -n 1
comm -12 piece-aa piece-ab | wc -l
tar cf tree.tar source
tar tf tree.tar | sort
mkdir unpacked && tar xf tree.tar -C unpacked && diff -r source unpacked/source && echo unpacked
tar czf tree.tgz copy && tar tzf tree.tgz | sort
tar -C unpacked --compare -f tree.tar && echo compared
install -m 750 copy/one installed && stat -c %a installed
mktemp -p . >/dev/null && ls tmp.* | wc -l && rm tmp.*
ln installed hard && stat -c %h hard
rm -r copy unpacked archive
rm -f none
rm source/deep/numbers
ls
rm -rf ./*
ls -A | wc -l
