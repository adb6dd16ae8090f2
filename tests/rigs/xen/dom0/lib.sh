# What the cases' scripts in dom0 use. Lines "RIG ..." on the console are for the host; what is in /out goes as a tar to /dev/vdc.

failures=0
say() { echo "RIG $*"; }
fail() { say "fail $*"; failures=$((failures + 1)); }
results() {
    dmesg >/out/dmesg
    cp -r /var/log/xen /out/log
    xl dmesg >/out/xl-dmesg
    tar -C /out -cf /dev/vdc .
    sync
} 2>/dev/null
# What there is when the time is over is worth more than nothing; the host ends the machine a little later.
(sleep "$LIMIT"; xl list >/out/xl-list 2>&1; ps aux >/out/ps; results; say late) &

now() { cut -d' ' -f1 /proc/uptime; }
# since START: seconds with two decimals
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'; }
seconds() { read -r uptime rest </proc/uptime; seconds=${uptime%.*}; }
# await SECONDS COMMAND...: until the command is true; on a busy machine CASE_PATIENCE times as long
await() {
    seconds
    end=$((seconds + $1 * ${CASE_PATIENCE:-1}))
    shift
    until "$@"; do
        seconds
        [ "$seconds" -lt "$end" ] || return 1
        sleep 0.2
    done
}
# await_host WORD: until the host has sent it
await_host() { while read -r word; do [ "$word" != "$1" ] || return 0; done; }

# guest NAME LINES: starts an HVM guest of one vCPU and 512 MiB; LINES are added to its configuration, $kernel_options to its
# kernel's command line. Its console is in /out/NAME.serial.
kernel_options=
guest() {
    [ -f /run/initrd ] || cat /guest/base.cpio /case/guest.cpio >/run/initrd
    cat >"/run/$1.cfg" <<END
name = "$1"
type = "hvm"
memory = 512
vcpus = 1
kernel = "/guest/vmlinuz"
ramdisk = "/run/initrd"
cmdline = "console=ttyS0,115200 quiet loglevel=2 rdinit=/init panic=-1 usbcore.autosuspend=-1 rig.name=$1 $kernel_options"
serial = "file:/out/$1.serial"
vga = "none"
nographic = 1
vnc = 0
usb = 0
timer_mode = "one_missed_tick_pending"
on_poweroff = "destroy"
on_crash = "destroy"
device_model_version = "qemu-xen"
$2
END
    : >"/out/$1.serial"
    begin=$(now)
    if ! xl create "/run/$1.cfg" >"/out/$1.xl" 2>&1; then
        fail "xl create $1: $(tail -n 1 "/out/$1.xl")"
        return 1
    fi
    say "$1: xl create took $(since "$begin") s"
}
# with_ours OPTION=VALUE...: lines of a guest's configuration that give it our process
with_ours() {
    printf 'device_model_override = "/case/xen-usb-dm-wrapper"\ndevice_model_args_hvm = [ '
    for option in "$@"; do printf '"-xen-usb-dm", "%s", ' "$option"; done
    echo ']'
}
# A line to the guest: its Xen console, which no device model has a part in. open_line NAME; await_step: the guest's next
# step is in $step, false when it was the last or the guest is gone; go: the guest goes on.
open_line() {
    await 10 line_there "$1" && stty raw -echo <"$tty" && exec 5<>"$tty" && line_of=$1
}
line_there() { tty=$(xenstore-read "/local/domain/$(xl domid "$1")/console/tty" 2>/dev/null) && [ -c "$tty" ]; }
await_step() {
    while read -r word step <&5; do
        step=${step%"$carriage_return"}
        case $word,$step in
            step,end) go; return 1 ;;
            step,*) return 0 ;;
        esac
        ! ended "$line_of" || return 1
    done
}
go() { echo go >&5; }
carriage_return=$(printf '\r')
guest_said() { tr -d '\r' <"/out/$1.serial" | grep -aq "^RIG $2"; }
ended() { ! xl domid "$1" >/dev/null 2>&1; }
said_or_ended() { guest_said "$1" "$2" || ended "$1"; }
# await_guest NAME SECONDS TEXT: until the guest has said it; a failure when it has not
await_guest() {
    await "$2" said_or_ended "$1" "$3"
    guest_said "$1" "$3" || { fail "guest $1 did not say '$3' within $2 s: $(tail -n 3 "/out/$1.serial" | tr '\r\n' '  ')"; return 1; }
}
# lines_of NAME: what the guest has said so far
lines_of() { tr -d '\r' <"/out/$1.serial" | sed -n '/^RIG \(failures\|end\|mark\) */d; s/^RIG \(.*\)/'"RIG $1: "'\1/p'; }
# report NAME: the guest's lines, and its failures added to dom0's
report() {
    lines_of "$1"
    counted=$(tr -d '\r' <"/out/$1.serial" | sed -n 's/^RIG failures //p')
    if [ -z "$counted" ]; then
        fail "guest $1 did not finish: $(tail -n 3 "/out/$1.serial" | tr '\r\n' '  ')"
    else
        failures=$((failures + counted))
    fi
}
# finish NAME SECONDS: until the guest has ended by itself, then its lines
finish() {
    await "$2" ended "$1" || fail "guest $1 was not done after $2 s"
    report "$1"
}
run_case() {
    run
    end_guests
    results
    say "failures $failures"
    say end
}
end_guests() { for name in $(xl list 2>/dev/null | awk 'NR > 2 { print $1 }'); do xl destroy "$name"; done; }

# usb_path VENDOR:PRODUCT: place of dom0's device, as 2-1
usb_path() {
    for path in /sys/bus/usb/devices/[0-9]*-*; do
        [ -f "$path/idVendor" ] || continue
        [ "$(cat "$path/idVendor"):$(cat "$path/idProduct")" = "$1" ] && { echo "${path##*/}"; return 0; }
    done
    return 1
}
# disk_of PLACE: name of the block device on it
disk_of() {
    for link in /sys/block/s[dr]*; do
        case $(readlink -f "$link/device") in */"$1"/*) echo "${link##*/}"; return 0 ;; esac
    done
    return 1
}
has_disk() { disk=$(disk_of "$1") && [ "$(cat "/sys/block/$disk/size" 2>/dev/null || echo 0)" -gt 0 ]; }
driver_of() { # PLACE: the drivers of its interfaces
    for interface in "/sys/bus/usb/devices/$1":*; do [ -e "$interface/driver" ] && basename "$(readlink "$interface/driver")"; done
}
