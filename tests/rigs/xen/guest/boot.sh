# Case boot: reads QEMU's stick.
run() {
    begin=$(now)
    await 60 usb 46f4:0001 || { fail "no stick"; return; }
    await 60 disk_on "$place" || { fail "no disk"; return; }
    say "stick at $place, disk after $(since "$begin") s"
    begin=$(now)
    say "hash $(dd if=/dev/$disk bs=1M 2>/dev/null | sha256sum | cut -d' ' -f1)"
    say "$((sectors / 2)) KiB read in $(since "$begin") s"
}
