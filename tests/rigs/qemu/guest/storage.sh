# Functions of the guest's cases that use disks.

# disk_of DEVICE: name of the block device of a USB device as in "2-1"
disk_of() {
    for link in /sys/block/sd*; do
        [ -e "$link/device" ] || continue
        case $(readlink -f "$link/device") in */"$1"/*) echo "${link##*/}"; return 0 ;; esac
    done
    return 1
}

have_disk() { disk=$(disk_of "$1") && [ "$(cat "/sys/block/$disk/size" 2>/dev/null || echo 0)" -gt 0 ]; }

# fill MOUNT: files of many sizes until nothing more fits, and a list of their hashes beside them
fill() {
    number=0
    while :; do
        number=$((number + 1))
        # Sizes 1 KiB to 2 MiB; the seed is a file of random bytes, shifted so that no two files are the same.
        kib=$((1 << (number % 12)))
        { echo "$number"; dd if=/tmp/seed bs=1024 count="$kib" skip=$((number % 97)) 2>/dev/null; } >"$1/f$number" 2>/dev/null || { rm -f "$1/f$number"; break; }
        [ "$number" -lt 4000 ] || break
    done
    # Room for the list.
    rm -f "$1"/f1 "$1"/f11 "$1"/f23 "$1"/f10
    (cd "$1" && sha256sum f* >SHA256SUMS && sync SHA256SUMS) 2>>/out/errors || return 1
    echo "$(ls "$1" | wc -l)"
}
