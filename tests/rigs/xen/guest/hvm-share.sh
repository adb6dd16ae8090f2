# Case hvm-share: reads its own stick, writes and reads again, until the stick is taken away.
no_stick() { ! usb 46f4:0001; }

run() {
    name=$(sed 's/.*rig.name=\([a-z]*\).*/\1/' /proc/cmdline)
    eval "expected=\$HASH_$name"
    await 60 usb 46f4:0001 || { fail "no stick"; return; }
    await 60 disk_on "$place" || { fail "no disk"; return; }
    [ "$(cat /sys/bus/usb/devices/*/serial | grep -c RIG)" = 1 ] || fail "more than its own stick"
    [ "$(cat "/sys/bus/usb/devices/$place/serial")" = "RIG$name" ] || fail "another's stick"
    pass=0
    while :; do
        echo 3 >/proc/sys/vm/drop_caches
        seen=$(dd if="/dev/$disk" bs=1M count=4 2>/tmp/errors | sha256sum | cut -d' ' -f1)
        [ "$seen" = "$expected" ] || break
        dd if=/dev/urandom of=/tmp/block bs=1M count=1 2>/dev/null
        dd if=/tmp/block of="/dev/$disk" bs=1M seek=$((4 + pass % 4)) conv=fsync 2>/tmp/errors || break
        echo 3 >/proc/sys/vm/drop_caches
        dd if="/dev/$disk" of=/tmp/again bs=1M skip=$((4 + pass % 4)) count=1 2>/tmp/errors || break
        cmp -s /tmp/block /tmp/again || { [ "$(wc -c </tmp/again)" -lt 1048576 ] || fail "what was written in pass $pass"; break; }
        pass=$((pass + 1))
        say "pass $pass"
    done
    # Only the detach at the end may have ended it.
    await 20 no_stick || fail "pass $pass broke off with the stick there: $(tail -n 1 /tmp/errors)"
    resets=$(dmesg | grep -c 'reset .* USB device')
    [ "$resets" -eq 0 ] || fail "its driver has reset the stick $resets times"
    say "$pass passes of 4 MiB read and 1 MiB written and read again, $resets resets"
}
