# Functions of the cases that boot from a stick; sourced by rigs/qemu/cases.

# typed=1 before stick: the loader waits for keys, which type_when sends from our keyboard.

# type_when TEXT KEY...: types when the serial line shows the text
type_when() {
    local text=$1
    shift
    until grep -aq "$text" "$work/serial"; do
        kill -0 "$qemu_id" 2>/dev/null || return 0
        sleep 0.1
    done
    sleep 1
    ctl key "$@"
}

# stick IMAGE MIB [partition]: stick with a FAT file system that BIOS (syslinux) and UEFI (systemd-boot) start from, and on it a
# Linux with guest/boot.sh.
#
# QEMU's TCG keeps translations of code by its place in memory and drops them when it sees a write. It sees none of ours: a
# vfio-user server writes the guest's memory from another process. A boot sector that loads the next one over itself at
# 0x7c00, as every master boot record does, therefore goes on as the old code. So a stick for the BIOS has no partition
# table: its one boot sector loads elsewhere. KVM has no such limit.
stick() {
    local image=$1 append='console=ttyS0 quiet loglevel=0 rdinit=/init panic=-1 usbcore.autosuspend=-1 tsc=reliable'
    mkdir -p "$work/stick/loader/entries" "$work/stick/EFI/BOOT" "$work/initrd.d/case"
    cp "$here/guest/init" "$work/initrd.d/init"
    chmod +x "$work/initrd.d/init"
    cp "$here/guest/boot.sh" "$work/initrd.d/case/case"
    cp "$here/guest/storage.sh" "$work/initrd.d/case/"
    printf 'CASE_ON=%s\nCASE_PARTITION=%d\n' "$on" "$([ "${3:-}" = partition ] && echo 1 || echo 0)" >"$work/initrd.d/case/env"
    inside sh -c 'cd /rig/initrd.d && find . | busybox cpio -o -H newc 2>/dev/null >/rig/case.cpio'
    cat "$rig/guest/base.cpio" "$rig/guest/$kernel/modules.cpio" "$work/case.cpio" >"$work/stick/initrd"
    cp "$rig/guest/$kernel/vmlinuz" "$work/stick/vmlinuz"
    cat >"$work/stick/syslinux.cfg" <<END
SERIAL 0 115200
PROMPT ${typed:-0}
TIMEOUT 1200
DEFAULT linux
LABEL linux
  KERNEL /vmlinuz
  INITRD /initrd
  APPEND $append rig.by=syslinux
LABEL k
  KERNEL /vmlinuz
  INITRD /initrd
  APPEND $append rig.by=syslinux rig.key=k
END
    cat >"$work/stick/loader/entries/a-linux.conf" <<END
title linux
linux /vmlinuz
initrd /initrd
options $append rig.by=systemd-boot
END
    sed 's/^title.*/title typed/; s/rig.by=systemd-boot/& rig.key=up/' "$work/stick/loader/entries/a-linux.conf" >"$work/stick/loader/entries/b-typed.conf"
    printf "default a-linux.conf\ntimeout %s\n" "${typed:+12}0" >"$work/stick/loader/loader.conf"
    cp "$rig/qemu/usr/lib/systemd/boot/efi/systemd-bootx64.efi" "$work/stick/EFI/BOOT/BOOTX64.EFI"
    (cd "$work/stick" && find . -type f ! -name SHA256SUMS -exec sha256sum {} + >"$work/sums" && mv "$work/sums" SHA256SUMS)
    truncate -s "$2M" "$work/$image"
    local at=0
    if [ "${3:-}" = partition ]; then
        at=1048576
        inside sh -ec "echo '2048,,c,*' | sfdisk -q /rig/$image"
    fi
    inside sh -ec "
        cd /rig
        mkfs.vfat -F 32 --offset $((at / 512)) $image $(($2 * 1024 - at / 1024)) >mkfs.log
        mcopy -s -i $image@@$at stick/* ::
        syslinux --install --offset $at $image"
    rm -r "$work/stick" "$work/initrd.d"
}
