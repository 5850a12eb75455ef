"""A disc that boots on a PC and checks itself: it reads its own far sectors and says the sum.

The boot program runs in real mode. It sums up runs of sectors which it reads by the BIOS (int 13h,
function 42h), and writes one line to the first serial port: ``SUM zsofs boot ok`` if the sum is
the one it was made with, ``SUM zsofs boot bad`` if not, ``zsofs boot read error`` if the BIOS
could not read. Then it ends QEMU by its isa-debug-exit device.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from tests.support import writers

SECTOR = 2048
RUN = 8
"""Sectors that the boot program reads at a time."""

EXIT_PORT = 0xF4
EXIT_CODE = 0x21 << 1 | 1
"""What QEMU returns when the boot program has written 0x21 to its isa-debug-exit device."""

# Each line: bytes in hexadecimal; @label is an 8-bit distance, ~label a 16-bit one and #label an
# address, all of the label. The program is loaded to 07C0:0000 (one sector of the disc).
_PROGRAM = """
        EA #start C0 07     ; jmp 0x07C0:start  some BIOSes jump to 0000:7C00
start:
        FA                  ; cli
        0E                  ; push cs
        1F                  ; pop ds
        31 C0               ; xor ax, ax
        8E D0               ; mov ss, ax
        BC 00 7C            ; mov sp, 0x7C00
        FB                  ; sti
        FC                  ; cld
        88 16 #drive        ; mov [drive], dl   the BIOS says which drive it booted from
        66 31 ED            ; xor ebp, ebp      the sum
        BE #table           ; mov si, table
next:
        66 8B 04            ; mov eax, [si]     a sector's number
        66 85 C0            ; test eax, eax     0 ends the table
        74 @compare         ; jz compare
        66 A3 #sector       ; mov [sector], eax
        56                  ; push si
        66 55               ; push ebp
        BE #packet          ; mov si, packet
        8A 16 #drive        ; mov dl, [drive]
        B4 42               ; mov ah, 0x42      extended read
        CD 13               ; int 0x13
        66 5D               ; pop ebp
        5E                  ; pop si
        72 @failed          ; jc failed
        B8 00 20            ; mov ax, 0x2000
        8E C0               ; mov es, ax
        31 FF               ; xor di, di
        B9 00 10            ; mov cx, 4096      RUN * SECTOR / 4
add:
        66 D1 C5            ; rol ebp, 1
        26 66 03 2D         ; add ebp, es:[di]
        83 C7 04            ; add di, 4
        E2 @add             ; loop add
        83 C6 04            ; add si, 4
        EB @next            ; jmp next

compare:
        B9 08 00            ; mov cx, 8
digit:
        66 C1 C5 04         ; rol ebp, 4
        89 E8               ; mov ax, bp
        24 0F               ; and al, 0x0F
        04 30               ; add al, '0'
        3C 39               ; cmp al, '9'
        76 @decimal         ; jbe decimal
        04 27               ; add al, 'a' - '0' - 10
decimal:
        E8 ~put             ; call put
        E2 @digit           ; loop digit
        BE #good            ; mov si, good
        66 3B 2E #expected  ; cmp ebp, [expected]
        74 @say             ; je say
        BE #bad             ; mov si, bad
        EB @say             ; jmp say
failed:
        BE #error           ; mov si, error
say:
        AC                  ; lodsb
        84 C0               ; test al, al
        74 @end             ; jz end
        E8 ~put             ; call put
        EB @say             ; jmp say
end:
        E8 ~idle            ; call idle
        BA F4 00            ; mov dx, EXIT_PORT
        B0 21               ; mov al, 0x21
        EE                  ; out dx, al
stop:
        F4                  ; hlt
        EB @stop            ; jmp stop

put:                        ; sends al; changes ah, dx
        88 C4               ; mov ah, al
        E8 ~idle            ; call idle
        BA F8 03            ; mov dx, 0x3F8     data
        88 E0               ; mov al, ah
        EE                  ; out dx, al
        C3                  ; ret
idle:                       ; waits until all is sent; changes al, dx
        BA FD 03            ; mov dx, 0x3FD     line status
        EC                  ; in al, dx
        A8 40               ; test al, 0x40     transmitter empty
        74 @idle            ; jz idle
        C3                  ; ret

packet:
        10 00               ; its length
        08 00               ; sectors to read: RUN
        00 00 00 20         ; to 2000:0000
sector:
        00 00 00 00  00 00 00 00
drive:
        00
good:
        20 7A 73 6F 66 73 20 62 6F 6F 74 20 6F 6B 0D 0A 00              ; " zsofs boot ok\\r\\n"
bad:
        20 7A 73 6F 66 73 20 62 6F 6F 74 20 62 61 64 0D 0A 00           ; " zsofs boot bad\\r\\n"
error:
        7A 73 6F 66 73 20 62 6F 6F 74 20                                ; "zsofs boot "
        72 65 61 64 20 65 72 72 6F 72 0D 0A 00                          ; "read error\\r\\n"
"""


def assemble(program: str, labels: dict[str, int] | None = None) -> bytes:
    """The bytes of a program as written above; `labels` are addresses from outside of it."""
    code = bytearray()
    known = dict(labels or {})
    uses: list[tuple[int, str]] = []
    for line in program.splitlines():
        for word in line.partition(";")[0].split():
            if word.endswith(":"):
                known[word[:-1]] = len(code)
            elif word[0] in "@~#":
                uses.append((len(code), word))
                code += bytes(1 if word[0] == "@" else 2)
            else:
                code.append(int(word, 16))
    for at, word in uses:
        target = known[word[1:]]
        if word[0] == "@":
            struct.pack_into("<b", code, at, target - (at + 1))
        elif word[0] == "~":
            struct.pack_into("<h", code, at, target - (at + 2))
        else:
            struct.pack_into("<H", code, at, target)
    return bytes(code)


_EXPECTED = 1024
_TABLE = 1028


def boot_program(sectors: list[int], expected: int) -> bytes:
    """The boot program for runs that begin at these sectors, as one sector of the disc."""
    code = assemble(_PROGRAM, {"expected": _EXPECTED, "table": _TABLE})
    table = struct.pack(f"<I{len(sectors)}II", expected, *sectors, 0)
    if len(code) > _EXPECTED or _EXPECTED + len(table) > SECTOR:
        raise ValueError("the boot program does not fit into one sector")
    return (code.ljust(_EXPECTED, b"\0") + table).ljust(SECTOR, b"\0")


def boot_sum(image: bytes, sectors: list[int]) -> int:
    """The sum that the boot program has to come to."""
    total = 0
    for sector in sectors:
        begin = sector * SECTOR
        for (word,) in struct.iter_unpack("<I", image[begin : begin + RUN * SECTOR]):
            total = ((total << 1 | total >> 31) + word) & 0xFFFFFFFF
    return total


def make_boot_image(folder: Path, ballast_size: int) -> tuple[bytes, list[int], int]:
    """A bootable image, made in the empty `folder`.

    Returns:
        The image; the sectors its boot program reads runs from; the sum it has to say.
    """
    files = folder / "files"
    files.mkdir(parents=True)
    marker = b"boot program".ljust(SECTOR, b"!")
    (files / "boot.img").write_bytes(marker)
    kinds = ["text", "noise", "mixed", "zeros", "text", "tight"]
    (files / "ballast.bin").write_bytes(writers.content(ballast_size, kinds, 7))
    names = ("-quiet", "-R", "-J", "-V", "BOOTS", "-o", str(folder / "boot.iso"))
    booting = ("-b", "boot.img", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4")
    subprocess.run(
        ["xorriso", "-as", "mkisofs", *names, *booting, str(files)],
        check=True,
        capture_output=True,
    )
    image = (folder / "boot.iso").read_bytes()
    at = image.index(marker)
    first = image.index((files / "ballast.bin").read_bytes()) // SECTOR
    last = first + ballast_size // SECTOR - RUN
    # Sixty runs all over the ballast, back and forth, with its first and its last sectors; and
    # the last ones of the image.
    step = (last - first) // 59
    forward = [first + step * number for number in range(60)]
    sectors = [*forward[::2], *reversed(forward[1::2]), last, len(image) // SECTOR - RUN]
    expected = boot_sum(image, sectors)
    image = image[:at] + boot_program(sectors, expected) + image[at + SECTOR :]
    return image, sectors, expected
