# Cases seabios and ovmf: this Linux came from a stick on our controller; it looks at the same stick with its own driver.
. /case/storage.sh

stick() { name=$(devices | awk '$4 == "46f4:0001" { print $1; exit }') && [ -n "$name" ]; }

run() {
    say "booted: $(cat /proc/cmdline)"
    await 60 stick || { fail "no stick"; return; }
    await 30 have_disk "$name" || { fail "no block device for $name"; return; }
    # The disk is there before its partitions; a stick without any is a file system as a whole.
    if [ "$CASE_PARTITION" -eq 1 ]; then part=/dev/${disk}1; else part=/dev/$disk; fi
    await 30 test -b "$part" || { fail "no $part"; return; }
    mount -t vfat "$part" /mnt || { fail "mount of $part"; return; }
    (cd /mnt && sha256sum -c SHA256SUMS) >/out/check 2>&1 || fail "files of the stick"
    say "ok $(grep -c ': OK' /out/check) files of the stick read again, $(du -sk /mnt | cut -f1) KiB"
    umount /mnt
}
