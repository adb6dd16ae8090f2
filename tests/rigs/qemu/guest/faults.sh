# Case faults: writes blocks that are told apart, each flushed before its number is printed, until something ends it.
. /case/storage.sh

stick() { name=$(devices | awk '$2 == 1 { print $1; exit }') && [ -n "$name" ] && have_disk "$name"; }

run() {
    await 60 stick || { fail "no stick"; return; }
    device=/dev/$disk
    number=${CASE_FROM:-0}
    errors=0
    while [ $number -lt "$CASE_BLOCKS" ] && [ $errors -lt 2 ]; do
        number=$((number + 1))
        # timeout cannot end a process that waits for a disk; the driver's own limit of 30 s can.
        if yes "block $number" | head -c 65536 | dd of="$device" bs=65536 seek=$number conv=notrunc,fsync 2>>/out/errors; then
            say "flushed $number"
        else
            errors=$((errors + 1))
        fi
        if [ "$CASE_FAULT" = truncate ] && ! bench "$device" random 65536 8 1 >/dev/null 2>>/out/errors; then errors=$((errors + 1)); fi
    done
    say "wrote $number blocks, $errors errors$([ $errors -eq 0 ] || echo ": $(tail -n 1 /out/errors)")"
    dmesg | grep -iE 'xhci|I/O error|reset|offline|Sense' | grep -vE 'New USB|hcc params|usb usb|using xhci|Mode Sense|Host Controller' | tail -n 5 | cut -c1-100 | while read -r line; do say "dmesg $line"; done
}
