# Case hvm-classes: attaches dom0's devices by place, waits for the guest's row of each class, takes them back.
# place_on PORT: place of the device on that port of dom0's controller
place_on() {
    for path in /sys/bus/usb/devices/[0-9]*-"$1"; do [ -f "$path/idVendor" ] && { place=${path##*/}; return 0; }; done
    return 1
}
ours() { /case/xen-usb-dm ctl "$ctl" "$@"; }
row() { ours counters 2>&1 | awk -v p="$1" '$1 == "1." p || $1 == p { print }'; }
answered() { guest_said guest "ready $1" || guest_said guest "row $1" || guest_said guest "fail $1" || ended guest; }
rowed() { guest_said guest "row $1" || guest_said guest "fail $1" || ended guest; }
driver_again() { [ -n "$(driver_of "$place")" ] && [ "$(driver_of "$place" | sort -u)" != usbfs ]; }

# What sound and pictures need in the guest
media_tools() {
    mkdir -p /run/stage/usr/share
    for tool in /usr/bin/aplay /usr/bin/v4l2-ctl; do
        for file in $tool $(ldd $tool | grep -o '/[^ ]*'); do
            [ -f "/run/stage/$file" ] || cp -L --parents "$file" /run/stage
        done
    done
    cp -r --parents /usr/share/alsa /run/stage
    ln -s aplay /run/stage/usr/bin/arecord
    (cd /run/stage && find . | cpio -o -H newc --quiet) >/run/media.cpio
    cat /guest/base.cpio /run/media.cpio /case/guest.cpio >/run/initrd
    rm -r /run/stage /run/media.cpio
}

run() {
    set --
    for item in $CLASSES; do
        await 30 place_on "${item#*:}" || { fail "dom0 has no ${item%:*}"; return; }
        set -- "$@" "attach=${item#*:}=host:$place"
    done
    case $CLASSES in *audio* | *video*) media_tools ;; esac
    udevadm settle
    guest guest "$(with_ours controller=xhci,usb2-ports=8,usb3-ports=8 "$@")" || return
    ctl=/run/xen-usb-dm/$(xl domid guest)/control
    for item in $CLASSES; do
        class=${item%:*}
        port=${item#*:}
        await 150 answered "$class"
        case $class in keyboard | mouse | tablet | serial)
            say "mark do $class"
            await 60 rowed "$class"
            ;;
        esac
        # A class whose driver sends nothing has no bytes out.
        set -- $(row "$port")
        say "$class: $2 transfers, $6 stalls, $7 errors, $8 bytes in, $9 bytes out"
        [ "${7:-x}" = 0 ] || fail "$class: ${7:-unknown} errors"
        case $class in dvd | mouse | tablet) least=0 ;; *) least=1 ;; esac
        [ "${8:-0}" -gt 0 ] && [ "${9:-0}" -ge $least ] || fail "$class: no data one way"
        ours inspect / >"/out/inspect-$class"
        place_on "$port"
        ours detach "$port" >/out/detach 2>&1 || fail "$class: detach: $(tail -n 1 /out/detach)"
        await 15 driver_again || fail "$class: dom0's driver has not got $place back: '$(driver_of "$place")'"
    done
    finish guest 60
}
