# Case hvm-disk: dom0's stick to the guest and back.
stick_there() { stick=$(usb_path 46f4:0001) && has_disk "$stick"; }

run() {
    await 30 stick_there || { fail "dom0 has no stick"; return; }
    say "dom0's stick is $stick, $disk, driver $(driver_of "$stick"), $(cat "/sys/bus/usb/devices/$stick/speed") Mbit/s"
    case $DEVICE in
        disk) dd if="/dev/$disk" of=/run/stick.img bs=1M 2>/dev/null; device=disk:/run/stick.img ;;
        *) device=host:$stick ;;
    esac
    [ "$SLOT" != qemu ] || { slot_of_qemu; return; }
    [ "$IRQ" != intx ] || kernel_options=pci=nomsi
    # hvmloader and SeaBIOS speak to Xen's log, if it listens.
    xl set-parameters guest_loglvl=all
    guest guest "$(with_ours "attach=1=$device" ${AS:+"user=$AS"})" || return
    ours=$(cat /run/xen-usb-dm/*/pid)
    ctl=/run/xen-usb-dm/$(xl domid guest)/control
    await_guest guest 120 "waiting" || { state; return; }
    xl set-parameters guest_loglvl=error
    xl dmesg | sed -n 's/^(d[0-9]*) //p' >/out/firmware
    for line in 'pci dev 1e:0 bar 10 ' 'PCI: XHCI at 00:1e.0' 'USB MSC vendor='; do
        grep -q "^$line" /out/firmware && say "firmware: $(grep -m 1 "^$line" /out/firmware)" || fail "the firmware has not said '$line'"
    done
    [ -z "$AS" ] || as_user
    /case/xen-usb-dm ctl "$ctl" list >/out/list 2>&1 || fail "ctl list: $(tail -n 1 /out/list)"
    /case/xen-usb-dm ctl "$ctl" inspect / >/out/inspect 2>&1 || fail "ctl inspect: $(tail -n 1 /out/inspect)"
    if [ "$DEVICE" = host ]; then
        grep -q "$stick" /out/inspect || fail "the inspect tree does not name $stick"
        [ "$(driver_of "$stick")" = usbfs ] || fail "dom0's driver of the stick is '$(driver_of "$stick")' while the guest has it"
    fi
    await_guest guest $((200 + 30 * READS)) "end" || { state; return; }
    say "our process: $(awk '/VmHWM/ { print "peak " $2 " KiB" }' "/proc/$ours/status"), $(awk '{ printf "%.2f s CPU", ($14 + $15) / 100 }' "/proc/$ours/stat")"
    report guest
    guest_said guest "hash $HASH" || fail "the guest's hash is not $HASH"

    xl destroy guest
    await 10 process_gone || fail "our process is there 10 s after xl destroy"
    [ "$DEVICE" = host ] || return 0
    await 15 stick_back && say "dom0 has its stick back as $disk" || fail "usb-storage has not got the stick back: '$(driver_of "$stick")'"
}
# The wrapper starts QEMU after our process: neither can refuse, so ours says what the guest sees.
slot_of_qemu() {
    guest guest "device_model_override = \"/case/xen-usb-dm-wrapper\"
device_model_args_hvm = [ \"-xen-usb-dm\", \"attach=1=$device\", \"-device\", \"piix3-usb-uhci,addr=1e\" ]" || return
    await 60 grep -q "QEMU has a device in PCI slot 0x1e too" /var/log/xen/qemu-dm-guest.log || fail "our process says nothing of QEMU's device"
    say "said: $(grep -o "QEMU has a device.*" /var/log/xen/qemu-dm-guest.log)"
    xl destroy guest
    # Where an operator starts it, QEMU is there first.
    sed -i 's/^device_model_override.*//; s/"-xen-usb-dm", "[^"]*", //' /run/guest.cfg
    xl create -p /run/guest.cfg >/out/paused.xl 2>&1 || { fail "xl create -p: $(tail -n 1 /out/paused.xl)"; return; }
    timeout 20 /case/xen-usb-dm run --xen "$(xl domid guest)" >/out/slot 2>&1
    status=$?
    [ "$status" -eq 3 ] && grep -q "name another slot" /out/slot && say "refused: $(grep -o "QEMU has.*" /out/slot)" || fail "status $status: $(tail -n 1 /out/slot)"
}
# The process is the user's; what it attaches from now on it opens as that user.
as_user() {
    [ "$(awk '/^Uid:/ { print $2, $3, $4 }' "/proc/$ours/status")" = "$(id -u "$AS") $(id -u "$AS") $(id -u "$AS")" ] || fail "our process is not $AS"
    keyboard=$(usb_path 0627:0001) || { fail "dom0 has no keyboard"; return; }
    if /case/xen-usb-dm ctl "$ctl" attach "2=host:$keyboard" >/out/refused 2>&1; then fail "$AS may attach $keyboard"; fi
    say "second device as $AS: $(tail -n 1 /out/refused)"
    chown "$AS" /run/xen-usb-dm "/dev/bus/usb/$(printf '%03d/%03d' "$(cat "/sys/bus/usb/devices/$keyboard/busnum")" "$(cat "/sys/bus/usb/devices/$keyboard/devnum")")"
    /case/xen-usb-dm ctl "$ctl" attach "2=host:$keyboard" >/out/attached 2>&1 && await 10 has_keyboard ||
        fail "second device of $AS's: $(tail -n 1 /out/attached) $(/case/xen-usb-dm ctl "$ctl" list 2>&1 | tail -n 3 | tr '\n' ' ')"
}
has_keyboard() { [ "$(driver_of "$keyboard" | sort -u)" = usbfs ]; }
process_gone() { [ ! -d "/proc/$ours" ]; }
stick_back() { [ "$(driver_of "$stick")" = usb-storage ] && has_disk "$stick"; }
state() {
    /case/xen-usb-dm ctl "$ctl" inspect / >/out/inspect 2>&1
    tr -d '\r' <"/out/guest.serial" | tail -n 3 | sed 's/^/RIG guest: /'
}
