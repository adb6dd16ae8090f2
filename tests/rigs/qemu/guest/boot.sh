# Cases seabios and ovmf: this Linux came from a stick on our controller; it looks at the same stick with its own driver.
. /case/storage.sh

stick() { name=$(devices | awk '$4 == "46f4:0001" { print $1; exit }') && [ -n "$name" ]; }

run() {
    say "booted: $(cat /proc/cmdline)"
    await 60 stick || { fail "no stick"; return; }
    await 30 have_disk "$name" || { fail "no block device for $name"; return; }
    part=/dev/${disk}1
    [ -b "$part" ] || part=/dev/$disk
    mount -t vfat "$part" /mnt || { fail "mount of $part"; return; }
    (cd /mnt && sha256sum -c SHA256SUMS) >/out/check 2>&1 || fail "files of the stick"
    say "ok $(grep -c ': OK' /out/check) files of the stick read again, $(du -sk /mnt | cut -f1) KiB"
    umount /mnt
}
