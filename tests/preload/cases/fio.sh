# fio.sh DIRECTORY: stores in a mapping, which fio reads again.
set -u
cd "$1" || exit 1
fio --name=stores --ioengine=mmap --rw=randwrite --bs=4k --size=4m --verify=crc32c --output=/dev/null
echo "status $?"
