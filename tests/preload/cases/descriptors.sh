# The library's own descriptors are out of the way of a program that uses the lowest numbers.
cd "$1"
local=$(mktemp -d)
trap 'rm -rf "$local"' EXIT
for i in 1 2 3 4 5 6 7 8 9; do echo "content $i" >"d$i"; done
read -r line <d1
echo "$line"
for fd in 3 4 5 6 7 8 9 48 49 50 51 52 53; do
  eval "exec $fd>\"$local/$fd\""
  for i in 2 3 4 5 6 7 8 9; do
    read -r line <"d$i"
    echo "$fd: $line" >"d$i.$fd"
  done
  eval "echo mine >&$fd"
done
for fd in 3 4 5 6 7 8 9 48 49 50 51 52 53; do
  eval "exec $fd>&-"
  cat "$local/$fd" "d9.$fd"
done
python3 - <<'END'
import os
open("d1").read()
os.close(0)
print(os.open("d2", os.O_RDONLY), os.read(0, 100))
print(os.open("d3", os.O_RDONLY) < 10)
END
