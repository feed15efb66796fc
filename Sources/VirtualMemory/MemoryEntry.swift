internal import AddressMap
internal import Synchronization
public import VMTypes

/// A handle to a range of memory, with fewer rights than its region perhaps, which vm_map takes like an object
/// (mach_make_memory_entry).
///
/// It keeps its memory alive after the region is gone, in this process; it is not part of what a commit makes durable.
/// Thread-safe.
public final class MemoryEntry: MemoryPort, Sendable {
    /// What an entry is made of.
    public enum Kind: Sendable, CaseIterable {
        /// The memory itself: mappings of the entry and of the region see each other's writes.
        case share
        /// A copy of the memory as it is now.
        case copy
        /// New memory of zeros.
        case fresh
    }

    struct Piece: Sendable {
        var object: ObjectID
        /// Bytes into the object.
        var offset: UInt64
        /// Bytes.
        var length: UInt64
    }

    /// Bytes; whole pages.
    public let size: UInt64
    /// The accesses that a mapping of it may ever allow.
    public let permission: Protection
    let pieces: [Piece]
    let store: Store

    init(pieces: [Piece], permission: Protection, store: Store) {
        self.pieces = pieces
        self.permission = permission
        self.store = store
        size = pieces.reduce(0) { $0 + $1.length }
    }

    deinit { store.handlesToRelease.withLock { $0 += pieces.map(\.object) } }

    public var right: MemoryRight { MemoryRight(kind: .entry(self), rights: permission) }

    /// The pieces of a range that lies within the entry.
    func pieces(offset: UInt64, length: UInt64) -> [Piece] {
        var found: [Piece] = []
        var start: UInt64 = 0
        for piece in pieces {
            let from = max(start, offset), to = min(start + piece.length, offset + length)
            if from < to {
                found.append(Piece(object: piece.object, offset: piece.offset + (from - start), length: to - from))
            }
            start += piece.length
        }
        return found
    }
}

extension VMTask {
    /// A handle to a range of this task's memory, or of a parent entry's.
    ///
    /// - Parameters:
    ///   - address: Where the range begins, rounded down to its page; with `parent`, bytes into that entry.
    ///   - size: Bytes; the range is rounded outward. 0 is INVALID_ARGUMENT.
    ///   - permission: What mappings of the entry may ever allow.
    ///   - kind: The memory itself, a copy of it, or new zeros; without meaning for a parent's range.
    /// - Throws: INVALID_ADDRESS at a hole; PROTECTION_FAILURE where `permission` exceeds the maximum of a region in the
    ///   range, or the parent's; INVALID_ARGUMENT, for a range beyond the parent's size too; RESOURCE_SHORTAGE where the
    ///   host lacks memory or mappings; TERMINATED.
    public func makeMemoryEntry(
        address: UInt64, size: UInt64, permission: Protection, kind: MemoryEntry.Kind = .share, parent: MemoryEntry? = nil
    ) throws(VMError) -> MemoryEntry {
        try store.withManagers { (memory) throws(VMError) in
            try checkAttached(memory)
            guard permission.isWellFormed else {
                throw VMError(.invalidArgument, "permission \(permission.rawValue) has bits outside read, write and execute")
            }
            guard let range = try AddressMap.outward(address: address, size: size) else {
                throw VMError(.invalidArgument, "a memory entry of no bytes")
            }
            let pieces: [MemoryEntry.Piece]
            if let parent {
                guard parent.store === store else { throw VMError(.invalidObject, "the parent belongs to another store") }
                guard permission.isSubset(of: parent.permission) else {
                    throw VMError(.protectionFailure, "\(permission) exceeds the parent's \(parent.permission)")
                }
                guard range.upperBound <= parent.size else {
                    throw VMError(
                        .invalidArgument, "\(hexadecimal(range)) pass the \(parent.size) bytes of the parent entry")
                }
                try checkLive(parent.right, &memory)
                pieces = parent.pieces(offset: range.lowerBound, length: UInt64(range.count))
            } else {
                pieces = try self.pieces(range, permission, kind, &memory)
            }
            for piece in pieces { memory.mapped[piece.object]?.handles += 1 }
            return MemoryEntry(pieces: pieces, permission: permission, store: store)
        }
    }

    private func pieces(
        _ range: Range<UInt64>, _ permission: Protection, _ kind: MemoryEntry.Kind, _ memory: inout Store.Memory
    ) throws(VMError) -> [MemoryEntry.Piece] {
        if kind == .fresh {
            let length = range.upperBound - range.lowerBound
            guard length <= Store.maximumObjectSize else {
                throw VMError(.resourceShortage, "\(length) bytes are more than an object's \(Store.maximumObjectSize)")
            }
            let object = try memory.fresh(size: length, store)
            memory.adopt(object)
            return [MemoryEntry.Piece(object: object.id, offset: 0, length: length)]
        }
        let entries = try checkedPieces(in: range) { entry in
            permission.isSubset(of: entry.maximum)
                ? nil
                : VMError(.protectionFailure, "\(permission) exceeds \(entry.maximum), the most that \(hexadecimal(entry.range)) permits")
        }
        var pieces: [MemoryEntry.Piece] = []
        var made: [MappedObject] = []
        for entry in entries {
            guard let id = entry.backing.object else { continue }
            var object = id
            if kind == .copy {
                let pages = PageRange(start: Int(entry.backing.offset >> UInt64(Page.shift)), count: entry.range.count >> Page.shift)
                let copy = try memory.copy(of: id, pages, store)
                made.append(copy)
                object = copy.id
            } else if memory.mapped[id] != nil {
                _ = try memory.shareable(id, store)
            }
            pieces.append(MemoryEntry.Piece(object: object, offset: entry.backing.offset, length: entry.length))
        }
        for copy in made { memory.adopt(copy) }
        return pieces
    }

    /// The entries' parts in a range that must have no hole, each refused by what `fault` answers.
    func checkedPieces(in range: Range<UInt64>, _ fault: (MapEntry) -> VMError?) throws(VMError) -> [MapEntry] {
        let pieces = map.pieces(in: range)
        var next = range.lowerBound
        for piece in pieces {
            if piece.start != next { break }
            if let fault = fault(piece) { throw fault }
            next = piece.end
        }
        guard next == range.upperBound else {
            throw VMError(.invalidAddress, "\(hexadecimal(range)): nothing is mapped at 0x\(String(next, radix: 16))")
        }
        return pieces
    }
}

extension Store.Memory {
    /// Lets go of the objects of memory entries that are no more.
    mutating func releaseHandles(_ store: Store) {
        let released = store.handlesToRelease.withLock { list in
            defer { list.removeAll() }
            return list
        }
        for id in released {
            guard let object = mapped[id], object.handles > 0 else { continue }
            object.handles -= 1
            // Where the host fails now, the next commit lets go.
            try? release(id, store)
        }
    }
}
