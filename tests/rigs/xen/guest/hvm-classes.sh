# Case hvm-classes: for each class its driver and data both ways. "row CLASS" ends a class, dom0 detaches it then.
export PATH=/bin:/usr/bin
modules='sd_mod sr_mod usb-storage usbhid hid-generic evdev ftdi_sio cdc_ether rndis_host snd-usb-audio uvcvideo xhci-pci'

on_port() { # PORT: place
    for path in /sys/bus/usb/devices/[12]-"$1"; do [ -e "$path/idVendor" ] && { place=${path##*/}; return 0; }; done
    return 1
}
bound() { driver=$(basename "$(readlink "/sys/bus/usb/devices/$place:1.0/driver" || readlink "/sys/bus/usb/devices/$place:2.0/driver")" 2>/dev/null); [ -n "$driver" ]; }
# node_on CLASS/PATTERN: name of the class device that belongs to $place
node_on() {
    for link in /sys/class/$1; do
        case $(readlink -f "$link") in */"$place"/*) node=${link##*/}; return 0 ;; esac
    done
    return 1
}
hash_of() { sha256sum | cut -d' ' -f1; }
gone() { [ ! -e "/sys/bus/usb/devices/$place" ]; }
# Events as "WORD VALUE", WORD being type and code
events() { od -An -v -td4 -w24 "$1" | awk '{ print $5, $6 }'; }

class_disk() {
    await 60 disk_on "$place" || { wrong="no disk"; return; }
    [ "$(dd if="/dev/$disk" bs=1M count=4 2>/dev/null | hash_of)" = "$HASH_disk" ] || { wrong=hash; return; }
    head -c 2097152 /dev/urandom >/tmp/block
    dd if=/tmp/block of="/dev/$disk" bs=1M seek=5 conv=fsync 2>/dev/null || { wrong=write; return; }
    echo 3 >/proc/sys/vm/drop_caches
    dd if="/dev/$disk" bs=1M skip=5 count=2 2>/dev/null | cmp -s - /tmp/block || wrong="not what was written"
}
class_dvd() {
    await 60 disk_on "$place" || { wrong="no disk"; return; }
    case $disk in sr*) ;; *) wrong="$disk is no optical drive"; return ;; esac
    dd if="/dev/$disk" of=/tmp/dvd bs=64k 2>/tmp/errors
    [ "$(hash_of </tmp/dvd)" = "$HASH_dvd" ] || wrong="hash of $(wc -c </tmp/dvd) of $((sectors * 512)) bytes, $(head -n 1 /tmp/errors)"
}
typed() { [ "$(events /tmp/keys | awk '$1 % 65536 == 1 && $2 == 1 { printf "%d ", $1 / 65536 }')" = "35 18 38 38 24 " ]; }
class_keyboard() {
    node_on 'input/event*' || { wrong="no input device"; return; }
    cat "/dev/input/$node" >/tmp/keys 2>/dev/null &
    say "ready keyboard"
    await 50 typed || { wrong="keys: $(events /tmp/keys | head -n 3 | tr '\n' ' ')"; return; }
    # EV_LED, LED_CAPSL, on
    printf '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\21\0\1\0\1\0\0\0' >"/dev/input/$node" || wrong=LED
    sleep 1
}
# Relative axes: 30 to the right, 10 down, in as many steps as it likes.
moved() { [ "$(events /tmp/moves | awk '$1 == 2 { x += $2 } $1 == 65538 { y += $2 } END { print x + 0, y + 0 }')" = "30 10" ]; }
class_mouse() {
    node_on 'input/event*' || { wrong="no input device"; return; }
    cat "/dev/input/$node" >/tmp/moves 2>/dev/null &
    say "ready mouse"
    await 50 moved || wrong="moves: $(events /tmp/moves | head -n 3 | tr '\n' ' ')"
}
# The left button, down and up
clicked() { [ "$(events /tmp/clicks | awk '$1 == 17825793 { printf "%s ", $2 }')" = "1 0 " ]; }
class_tablet() {
    node_on 'input/event*' || { wrong="no input device"; return; }
    cat "/dev/input/$node" >/tmp/clicks 2>/dev/null &
    say "ready tablet"
    await 50 clicked || wrong="clicks: $(events /tmp/clicks | head -n 3 | tr '\n' ' ')"
}
received() { [ "$(wc -c </tmp/received)" -ge 4096 ]; }
class_serial() {
    node_on 'tty/ttyUSB*' || { wrong="no tty"; return; }
    exec 5<>"/dev/$node"
    stty -F "/dev/$node" raw -echo 115200
    head -c 4096 <&5 >/tmp/received &
    say "ready serial"
    await 50 received || { wrong="received $(wc -c </tmp/received) bytes"; return; }
    [ "$(hash_of </tmp/received)" = "$HASH_serial" ] || { wrong=hash; return; }
    cat /tmp/received >&5
    # What is written has left when the line is closed.
    exec 5>&-
    sleep 1
}
returned() { [ "$(wc -c </tmp/back)" -ge 32768 ]; }
class_net() {
    node_on 'net/*' || { wrong="no network"; return; }
    ip link set "$node" up
    ip addr add 10.0.2.15/24 dev "$node"
    head -c 32768 /dev/urandom >/tmp/there
    (cat /tmp/there; sleep 60) | nc 10.0.2.100 7 >/tmp/back &
    await 50 returned
    cmp -s /tmp/there /tmp/back || wrong="$(wc -c </tmp/back) of 32768 bytes came back, or other ones"
}
# What is played comes back from the microphone. No byte of it is 0, so silence in it makes pieces of it. It begins when the
# recorder has recorded silence: ALSA gives up recording when nothing comes for as long as its buffer is.
music() {
    for i in $(seq 40); do
        head -c 38400 /dev/zero
        [ ! -s /tmp/recorded ] || break
    done
    cat /case/audio.raw
    head -c 115200 /dev/zero
}
class_audio() {
    await 30 node_on 'sound/pcmC*p' || { wrong="no sound"; return; }
    card=${node#pcmC}
    card=${card%D*}
    format="-q -D hw:$card,0 -t raw -f S16_LE -r 48000 -c 2 --buffer-time=400000"
    music | aplay $format - 2>/tmp/aplay &
    player=$!
    await 20 grep -q RUNNING "/proc/asound/card$card/pcm0p/sub0/status" || { wrong="aplay does not begin: $(head -n 1 /tmp/aplay)"; return; }
    arecord $format /tmp/recorded 2>/tmp/arecord &
    recorder=$!
    wait $player || wrong="aplay: $(tail -n 1 /tmp/aplay)"
    kill -INT $recorder
    wait $recorder
    grep -q run /tmp/aplay && wrong="aplay: $(head -n 1 /tmp/aplay)"
    grep -q run /tmp/arecord && wrong="arecord: $(head -n 1 /tmp/arecord)"
    tr '\0' '\n' </tmp/recorded | grep -a . >/tmp/pieces
    (cat /case/audio.raw; echo) | cmp -s - /tmp/pieces ||
        wrong="recorded $(tr -d '\n' </tmp/pieces | wc -c) of $(wc -c </case/audio.raw) bytes in $(wc -l </tmp/pieces) pieces, ${wrong:-$(cat /tmp/aplay /tmp/arecord | head -n 2)}"
}
# Buffers for all of the film wait before it begins, so a slow guest loses none of it. uvcvideo fills them by several kernel
# threads and may give back a younger one first; each has its number.
class_video() {
    await 30 node_on 'video4linux/video*' || { wrong="no camera"; return; }
    v4l2-ctl -d "/dev/$node" --set-ctrl brightness=77 --set-fmt-video=width=160,height=120,pixelformat=YUYV --verbose \
        --stream-mmap="$FRAMES" --stream-count="$FRAMES" --stream-to=/tmp/film >/tmp/video 2>&1 || { wrong="v4l2-ctl: $(tail -n 1 /tmp/video)"; return; }
    sed -n 's/.*dqbuf.* seq: *\([0-9]*\) .*/\1/p' /tmp/video | awk '{ print $1, NR - 1 }' | sort -n >/tmp/order
    hash=$(while read -r number place; do dd if=/tmp/film bs=38400 skip="$place" count=1 2>/dev/null; done </tmp/order | hash_of)
    [ "$hash" = "$HASH_video" ] || wrong="$(wc -c </tmp/film) bytes of film, or other ones, order $(cut -d' ' -f1 /tmp/order | tr '\n' ' '), $(grep -m2 dqbuf /tmp/video)"
}

run() {
    for item in $CLASSES; do
        class=${item%:*}
        await 60 on_port "${item#*:}" || { fail "$class: not there"; continue; }
        await 30 bound || { fail "$class: no driver"; continue; }
        begin=$(now)
        wrong=
        class_$class
        [ -z "$wrong" ] || { fail "$class: $wrong"; continue; }
        say "row $class: $place, $(cat "/sys/bus/usb/devices/$place/speed") Mbit/s, $driver, data right, $(since "$begin") s"
    done
    for item in $CLASSES; do
        ! on_port "${item#*:}" || await 60 gone || fail "${item%:*} is still there"
    done
}
