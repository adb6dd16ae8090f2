# Case faults: writes blocks that are told apart, each flushed before its number is printed, until something ends it.
. /case/storage.sh

stick() { name=$(devices | awk '$2 == 1 { print $1; exit }') && [ -n "$name" ] && have_disk "$name"; }

# write NUMBER: one block, durable
write() {
    # A file would be made in the place of a disk that is gone.
    [ -b "$device" ] || { last="the disk is gone"; return 1; }
    # timeout cannot end a process that waits for a disk; the driver's own limit of 30 s can.
    yes "block $1" | head -c 65536 | dd of="$device" bs=65536 seek="$1" conv=notrunc,fsync 2>/tmp/dd && return
    cat /tmp/dd >>/out/errors
    last=$(grep -v records /tmp/dd | tail -n 1)
    return 1
}

run() {
    await 60 stick || { fail "no stick"; return; }
    device=/dev/$disk
    # The driver waits 30 s before it gives up a command; where our process is gone that is only time.
    case $CASE_FAULT in term | kill) echo 5 >"/sys/block/$disk/device/timeout" ;; esac
    number=${CASE_FROM:-0}
    errors=0
    most=2
    # The host gives space as soon as it has seen the first error.
    [ "$CASE_FAULT" != full ] || most=100
    while [ $number -lt "$CASE_BLOCKS" ] && [ $errors -lt $most ]; do
        number=$((number + 1))
        if write $number; then
            say "flushed $number"
        else
            errors=$((errors + 1))
            [ "$CASE_FAULT" != full ] || { [ $errors -ne 1 ] || say "full $number"; number=$((number - 1)); sleep 0.2; }
        fi
        if [ "$CASE_FAULT" = truncate ] && ! bench "$device" random 65536 8 1 >/dev/null 2>>/out/errors; then errors=$((errors + 1)); last=$(tail -n 1 /out/errors); fi
    done
    say "wrote $number blocks, $errors errors$([ $errors -eq 0 ] || echo ": $last")"
    dmesg | grep -iE 'xhci|I/O error|critical|reset|offline|Sense' | grep -vE 'New USB|new USB bus|USB 3.0 Super|hcc params|usb usb|using xhci|Mode Sense|Host Controller' | tail -n 5 | cut -c1-120 | while read -r line; do say "dmesg $line"; done
}
