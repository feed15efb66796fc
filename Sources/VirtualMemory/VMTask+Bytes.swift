internal import AddressMap
internal import Glibc
internal import HostMemory
public import VMTypes

/// Bytes across tasks: the whole range is checked before a byte moves.
extension VMTask {
    /// The bytes of a range (vm_read).
    ///
    /// - Throws: INVALID_ADDRESS at a hole, PROTECTION_FAILURE where a region may not be read, MEMORY_ERROR beyond an
    ///   object's end or where a page can't be had, MEMORY_FAILURE where its manager destroyed the object, INVALID_ARGUMENT where the range wraps, TERMINATED.
    public func read(address: UInt64, size: UInt64) throws(VMError) -> [UInt8] {
        try check(address, size, .read)
        guard size > 0 else { return [] }
        var failure: VMError?
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(size)) { buffer, count in
            do throws(VMError) {
                try readOverwrite(address: address, size: size, into: buffer.baseAddress!)
                count = Int(size)
            } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Copies the bytes of a range to memory of the caller (vm_read_overwrite). Throws as `read` does.
    public func readOverwrite(address: UInt64, size: UInt64, into destination: UnsafeMutableRawPointer) throws(VMError) {
        try load(address, size, .read)
        try store.withManagers { (memory) throws(VMError) in
            try checkAttached(memory)
            guard try checked(address, size, .read, &memory) else { return }
            memcpy(destination, pointer(address), Int(size))
        }
    }

    /// Stores bytes to a range (vm_write), in the order of addresses: of memory that the range shows twice, the later stay.
    ///
    /// - Throws: INVALID_ADDRESS at a hole, PROTECTION_FAILURE where a region may not be written, MEMORY_ERROR beyond an
    ///   object's end, INVALID_ARGUMENT where the range wraps, TERMINATED.
    public func write(address: UInt64, _ bytes: UnsafeRawBufferPointer) throws(VMError) {
        try load(address, UInt64(bytes.count), .write)
        try store.withManagers { (memory) throws(VMError) in
            try checkAttached(memory)
            guard try checked(address, UInt64(bytes.count), .write, &memory), let source = bytes.baseAddress else { return }
            store(source, at: address, UInt64(bytes.count))
        }
        touch(address: address, size: UInt64(bytes.count))
    }

    /// Stores bytes of elsewhere in the order of addresses, region by region: where two of them show the same memory, the
    /// later bytes are what stays, and memcpy promises no order.
    func store(_ bytes: UnsafeRawPointer, at address: UInt64, _ size: UInt64) {
        for piece in map.pieces(in: Page.trunc(address)..<(Page.round(address + size) ?? map.bounds.upperBound)) {
            let from = max(piece.start, address), to = min(piece.end, address + size)
            memcpy(pointer(from), bytes + Int(from - address), Int(to - from))
        }
    }

    private func check(_ address: UInt64, _ size: UInt64, _ access: Protection) throws(VMError) {
        try store.withManagers { (memory) throws(VMError) in
            try checkAttached(memory)
            _ = try checked(address, size, access, &memory)
        }
    }

    /// Whether there are bytes to move, after checking that the access is allowed to all of them; ends the call until the
    /// pages that managers must give are there.
    func checked(
        _ address: UInt64, _ size: UInt64, _ access: Protection, _ memory: inout Store.Memory
    ) throws(VMError) -> Bool {
        guard let range = try AddressMap.outward(address: address, size: size) else { return false }
        _ = try checkedPieces(in: range) { entry in
            access.isSubset(of: entry.current)
                ? nil : VMError(.protectionFailure, "\(hexadecimal(entry.range)) is \(entry.current): it can't be accessed for \(access)")
        }
        try requirePages(in: range, &memory)
        return true
    }

    /// Checks, and brings the pages in, without the store's lock: filling may take a manager's time.
    func load(_ address: UInt64, _ size: UInt64, _ access: Protection) throws(VMError) {
        try check(address, size, access)
        guard size > 0 else { return }
        let start = Page.trunc(address)
        // What may be written may be read, as far as the hardware is concerned.
        try VMError.translating { () throws(StoreError) in
            try Population.load(
                address: start, byteCount: Page.count(forBytes: Int(address - start) + Int(size)) << Page.shift)
        }
    }
}
