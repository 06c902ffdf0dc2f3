# An editor with its backups and its swap file.
cd "$1" || exit 1
edit() {
  vim.tiny -N -u NONE -i NONE -es -c "set backup backupskip= backupdir=. backupcopy=$1" -c "$2" -c wq \
    text </dev/null
  echo "$? $(cat text) - $(cat text~) - $(stat -c %a text)"
}
printf 'one\ntwo\n' >text
chmod 640 text
edit yes '%s/two/three/'
edit no '1d'
(
  vim.tiny -N -u NONE -i NONE -es -c 'set swapfile directory=.' -c '%s/three/four/' -c preserve \
    -c '!kill -9 $PPID' text </dev/null
  :
) 2>log
rm log
ls -A
vim.tiny -N -u NONE -i NONE -es -r -c wq text </dev/null
cat text
