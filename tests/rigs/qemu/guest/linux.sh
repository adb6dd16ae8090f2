# Case linux: enumeration, descriptors, disks read, formatted, filled and read again, keyboards, at every speed.
. /case/storage.sh

all_there() { [ "$(devices | wc -l)" -ge "$(wc -l </case/expect)" ]; }

run() {
    await 120 all_there || fail "only $(devices | wc -l) of $(wc -l </case/expect) devices enumerated"
    say "enumerated $(devices | wc -l) devices at $(now) s"
    lsusb -t >/out/lsusb-t 2>&1
    lsusb -v >/out/lsusb-v 2>/out/lsusb-v.errors || fail "lsusb -v ended with $?"
    say "lsusb $(wc -l </out/lsusb-v) lines, $(grep -c . /out/lsusb-v.errors) errors"
    mkdir -p /out/descriptors
    : >/out/places
    while read -r port speed id kind fs hash; do
        name=$(devices | awk -v port="$port" -v speed="$speed" -v id="$id" '$2 == port && $3 == speed && $4 == id { print $1 }')
        if [ -z "$name" ]; then
            fail "no device $id at port $port with $speed Mbit/s"
            continue
        fi
        echo "$port $(cat "/sys/bus/usb/devices/$name/busnum") $(cat "/sys/bus/usb/devices/$name/devnum")" >>/out/places
        cat "/sys/bus/usb/devices/$name/descriptors" >"/out/descriptors/$port"
        cat "/sys/bus/usb/devices/$name/bos_descriptors" >"/out/descriptors/$port.bos" 2>/dev/null
        case $kind in
            disk) disk "$name" "$speed" "$fs" "$hash" ;;
            keyboard) keyboard "$name" "$speed" ;;
            *) say "ok zero $speed Mbit/s" ;;
        esac
    done </case/expect
    [ "$CASE_ON" != ours ] || keys
}

# Typed by the host over the control socket, one keyboard after the other: "hello", which is 35 18 38 38 24.
keys() {
    count=$(grep -c keyboard /case/expect)
    for input in /sys/class/input/event*; do
        case $(readlink -f "$input") in *usb*) cat "/dev/input/${input##*/}" >"/tmp/keys-${input##*/}" 2>/dev/null & ;; esac
    done
    number=0
    while [ $number -lt "$count" ]; do
        number=$((number + 1))
        say "await-keys $number"
        if await 60 typed; then
            file=$(typed_at)
            say "ok typed keys arrived as ${file#/tmp/keys-}: 35 18 38 38 24"
            # Each keyboard counts once.
            rm "$file"
        else
            fail "no keys on any keyboard"
            for file in /tmp/keys-*; do decoded "$file" >"/out/${file##*/}"; done
        fi
        say "typed $number"
        sleep 1
    done
}

# Codes of the keys that went down, from struct input_event (24 bytes: two of time, type, code, value).
decoded() { od -An -v -tu2 -w24 "$1" | awk '$9 == 1 && $11 == 1 { printf "%s ", $10 }'; }
typed_at() { for file in /tmp/keys-*; do [ "$(decoded "$file")" = "35 18 38 38 24 " ] && { echo "$file"; return 0; }; done; return 1; }
typed() { typed_at >/dev/null; }

disk() { # disk NAME SPEED FILESYSTEM HASH
    if ! await 30 have_disk "$1"; then
        fail "no block device for $1"
        return
    fi
    bytes=$(($(cat "/sys/block/$disk/size") * 512))
    begin=$(now)
    got=$(dd if="/dev/$disk" bs=1M 2>>/out/errors | sha256sum | cut -d' ' -f1)
    took=$(since "$begin")
    if [ "$got" = "$4" ]; then say "ok disk $2 Mbit/s $bytes bytes read and hashed in $took s, $(rate "$bytes" "$took") MB/s"; else fail "hash of $disk at $2 Mbit/s: $got, not $4"; fi

    [ -f /tmp/seed ] || dd if=/dev/urandom of=/tmp/seed bs=64k count=48 2>/dev/null
    begin=$(now)
    case $3 in
        ext4) mkfs.ext4 -q -F "/dev/$disk" 2>>/out/errors ;;
        vfat) mkfs.vfat "/dev/$disk" >>/out/errors 2>&1 ;;
    esac || { fail "mkfs.$3 on $disk ended with $?"; return; }
    mount -t "$3" "/dev/$disk" /mnt || { fail "mount of $disk as $3"; return; }
    files=$(fill /mnt) || fail "list of hashes on $disk"
    used=$(df -k /mnt | awk 'END { print $3 }')
    umount /mnt || fail "umount of $disk"
    took=$(since "$begin")
    # A second mount reads everything from the device again.
    mount -t "$3" -o ro "/dev/$disk" /mnt || { fail "second mount of $disk"; return; }
    (cd /mnt && sha256sum -c SHA256SUMS) >/tmp/check 2>&1 || { fail "hashes on $disk after remount"; grep -v ': OK' /tmp/check >"/out/hashes-$2"; }
    umount /mnt
    case $3 in
        ext4) e2fsck -fn "/dev/$disk" ;;
        vfat) fsck.vfat -n "/dev/$disk" ;;
    esac >>/out/fsck 2>&1 || fail "fsck.$3 on $disk ended with $?"
    say "ok disk $2 Mbit/s $3 made, $files files, $used KiB written in $took s, remounted, hashes and fsck good"
}

keyboard() { # keyboard NAME SPEED
    for input in /sys/class/input/event*; do
        case $(readlink -f "$input") in
            */"$1"/*)
                say "ok keyboard $2 Mbit/s is ${input##*/}"
                # The driver sends the lights as a SET_REPORT.
                for light in /sys/class/leds/*capslock; do
                    case $(readlink -f "$light") in */"$1"/*) echo 1 >"$light/brightness"; sleep 0.2; echo 0 >"$light/brightness" ;; esac
                done
                return
                ;;
        esac
    done
    fail "no input device for keyboard $1 at $2 Mbit/s"
}
