namespace XenUsbDm.Frontends.Pci;

/// <summary>The register block behind a memory BAR. Accesses lie wholly inside it; size is 1, 2, 4 or 8 bytes, offset any.</summary>
public interface IMemoryBar
{
    /// <summary>Reads <paramref name="size"/> bytes, little-endian, zero-extended.</summary>
    ulong Read(int offset, int size);

    /// <summary>Writes the low <paramref name="size"/> bytes of <paramref name="value"/>.</summary>
    void Write(int offset, int size, ulong value);
}
