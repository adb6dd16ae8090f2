# Case hvm-disk: reads the stick whole, writes its second half with random bytes and reads that again past the cache.
# What was read, as the page cache has it, is written over the stick, so that the host can say where it differs.
wrong() {
    say "dd: $(tail -n 1 /tmp/dd)"
    dmesg | tail -n 5 | cut -c1-120 | while read -r line; do say "kernel: $line"; done
    dd if="/dev/$disk" of=/tmp/seen bs=1M 2>/dev/null
    echo 3 >/proc/sys/vm/drop_caches
    say "hash of a second read $(dd if="/dev/$disk" bs=1M 2>/dev/null | sha256sum | cut -d' ' -f1)"
    dd if=/tmp/seen of="/dev/$disk" bs=1M conv=fsync 2>/dev/null
    say "mark wrong"
    fail "what was read is not what is on the stick"
}

run() {
    begin=$(now)
    await 60 usb 46f4:0001 || { fail "no stick"; return; }
    await 60 disk_on "$place" || { fail "no disk"; return; }
    say "stick at $place, $(cat "/sys/bus/usb/devices/$place/speed") Mbit/s, disk after $(since "$begin") s, $((sectors / 2)) KiB"
    interrupts=$(sed -n 's/^ *\([0-9]*\): *[0-9 ]* *\(.*\) xhci[-_]hcd.*/\2/p' /proc/interrupts | tr -s ' ' | tr '\n' ';')
    say "interrupts of xhci_hcd: $interrupts"
    case $IRQ,$interrupts in
        msix,*[Mm][Ss][Ii]*) ;;
        intx,*[Mm][Ss][Ii]*) fail "message-signalled interrupts" ;;
        intx,?*) ;;
        *) fail "no interrupt of the kind $IRQ" ;;
    esac
    say waiting
    begin=$(now)
    got=$(dd if="/dev/$disk" bs=1M 2>/tmp/dd | sha256sum | cut -d' ' -f1)
    say "hash $got"
    say "read in $(since "$begin") s"
    [ "$got" = "$HASH" ] || { wrong; return; }
    round=1
    while [ $round -lt "$READS" ]; do
        round=$((round + 1))
        echo 3 >/proc/sys/vm/drop_caches
        got=$(dd if="/dev/$disk" bs=1M 2>/tmp/dd | sha256sum | cut -d' ' -f1)
        [ "$got" = "$HASH" ] || { say "read $round: $got"; wrong; return; }
    done
    [ "$READS" -eq 1 ] || say "$READS reads, each with the same hash"
    half=$((sectors / 4096))
    dd if=/dev/urandom of=/tmp/half bs=1M count="$half" 2>/dev/null
    written=$(sha256sum </tmp/half | cut -d' ' -f1)
    begin=$(now)
    dd if=/tmp/half of="/dev/$disk" bs=1M seek="$half" conv=fsync 2>/dev/null || fail "write"
    say "$half MiB written in $(since "$begin") s"
    echo 3 >/proc/sys/vm/drop_caches
    got=$(dd if="/dev/$disk" bs=1M skip="$half" 2>/dev/null | sha256sum | cut -d' ' -f1)
    [ "$got" = "$written" ] && say "written half read again, same hash" || fail "hash of the written half"
    say "mark written $written"
    say "failures $failures"
    say end
    # dom0 destroys the domain with its disk in use.
    sleep 1000
}
