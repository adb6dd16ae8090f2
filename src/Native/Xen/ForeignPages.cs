using System;
using XenUsbDm.Hosts.Xen;

namespace XenUsbDm.Native.Xen;

/// <summary>Mapped pages of a domain, or the page of an ioreq server; disposed before their <see cref="XenDomain"/>.</summary>
internal sealed unsafe class ForeignPages : IForeignPages
{
    private readonly nint _library;
    private readonly nint _resource;
    private readonly int _pages;
    private nint _address;

    /// <summary>Takes over a mapping of <paramref name="library"/>'s; <paramref name="resource"/> is 0 for guest memory.</summary>
    public ForeignPages(nint library, nint address, int pages, nint resource = 0)
    {
        _library = library;
        _resource = resource;
        _address = address;
        _pages = pages;
    }

    /// <inheritdoc/>
    public Span<byte> Bytes => _address == 0 ? default : new Span<byte>((void*)_address, _pages * IoreqLayout.PageBytes);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_address == 0) return;
        if (_resource != 0) _ = LibXenForeignMemory.UnmapResource(_library, _resource);
        else _ = LibXenForeignMemory.Unmap(_library, _address, (nuint)_pages);
        _address = 0;
    }
}
