# A build that does nothing twice.
cd "$1" || exit 1
printf 'rule copy\n command = cat $in > $out\nbuild b: copy a\nbuild c: copy b\n' >build.ninja
echo 1 >a
ninja
ninja
echo 2 >a
ninja
ninja
cat c
ls -A
