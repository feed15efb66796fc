/// What a stored value holds, as the layout says that is recorded of it: for tools, which don't have the program's types.
///
/// Equal where the same is stored, wherever it lies in the heap.
package indirect enum StoredContents: Hashable, Sendable {
    case signed(Int64)
    case unsigned(UInt64)
    /// A `Double`, or a `Float`, by its bits: a NaN equals itself.
    case double(UInt64)
    case float(UInt32)
    case bool(Bool)
    /// UTF-8, which need not be equal where Swift's strings are.
    case text([UInt8])
    case bytes([UInt8])
    /// The bytes of a type that is not known here.
    case unknown([UInt8])
    /// A structure of the program's: its bytes, but for the parts that own something, and these.
    case structure([UInt8], [StoredContents])
    case array([StoredContents])
    case set(Set<StoredContents>)
    /// Of a dictionary, or a sorted map.
    case pairs([StoredContents: StoredContents])

    /// Whether all of it is of types that are known here.
    package var isKnown: Bool {
        switch self {
        case .unknown, .structure: false
        case .array(let elements): elements.allSatisfy(\.isKnown)
        case .set(let members): members.allSatisfy(\.isKnown)
        case .pairs(let pairs): pairs.allSatisfy { $0.key.isKnown && $0.value.isKnown }
        default: true
        }
    }
}

extension StoredContents: Comparable {
    /// Numbers by their size, texts and bytes by their bytes; others by their kinds, and as they come.
    package static func < (left: Self, right: Self) -> Bool {
        switch (left, right) {
        case (.signed(let a), .signed(let b)): a < b
        case (.unsigned(let a), .unsigned(let b)): a < b
        case (.double(let a), .double(let b)): Double(bitPattern: a) < Double(bitPattern: b)
        case (.float(let a), .float(let b)): Float(bitPattern: a) < Float(bitPattern: b)
        case (.bool(let a), .bool(let b)): !a && b
        case (.text(let a), .text(let b)), (.bytes(let a), .bytes(let b)), (.unknown(let a), .unknown(let b)),
            (.structure(let a, _), .structure(let b, _)):
            a.lexicographicallyPrecedes(b)
        default: false
        }
    }
}

/// Reads what lies in a heap by recorded layouts.
///
/// Only what a `ContainerWalk` found sound: that is what keeps it within the heap. Made of a heap that nobody changes.
struct StoredReader {
    let space: HeapSpace

    /// The value at an offset.
    ///
    /// - Parameter room: How many bytes it has at most: as many as it is compared by, where its type is not known.
    func contents(_ shape: StoredShape, at offset: Int, room: Int) -> StoredContents {
        switch shape {
        case .plain(let name): plain(name, at: offset, room: room)
        case .bytes(let isText):
            space.load(offset, as: PersistentBytes.self).withBytes(in: space) { isText ? .text([UInt8]($0)) : .bytes([UInt8]($0)) }
        case .fields(let fields): structure(fields, at: offset, room: room)
        case .array, .dictionary, .set, .sortedMap: contents(shape, of: space.load(offset))
        }
    }

    /// The collection of a handle.
    func contents(_ shape: StoredShape, of handle: ContainerHandle) -> StoredContents {
        switch shape {
        case .array(let element): .array(array(handle.offset, element))
        case .set(let member): .set(Set(pairs(ofTable: handle.offset, member, .plain(name: "")).map(\.0)))
        case .dictionary(let key, let value): .pairs(Self.dictionary(pairs(ofTable: handle.offset, key, value)))
        case .sortedMap(let key, let value): .pairs(Self.dictionary(pairs(ofTree: handle.offset, key, value)))
        default: .unknown([])
        }
    }

    private static func dictionary(_ pairs: [(StoredContents, StoredContents)]) -> [StoredContents: StoredContents] {
        // Keys of unknown types may be alike in the bytes that are compared.
        Dictionary(pairs, uniquingKeysWith: { first, _ in first })
    }

    private func plain(_ name: String, at offset: Int, room: Int) -> StoredContents {
        func signed<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) -> StoredContents? {
            MemoryLayout<T>.size <= room ? .signed(Int64(space.load(offset, as: T.self))) : nil
        }
        func unsigned<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) -> StoredContents? {
            MemoryLayout<T>.size <= room ? .unsigned(UInt64(space.load(offset, as: T.self))) : nil
        }
        let known: StoredContents? =
            switch name {
            case "Int", "Int64": signed(Int64.self)
            case "Int32": signed(Int32.self)
            case "Int16": signed(Int16.self)
            case "Int8": signed(Int8.self)
            case "UInt", "UInt64": unsigned(UInt64.self)
            case "UInt32": unsigned(UInt32.self)
            case "UInt16": unsigned(UInt16.self)
            case "UInt8": unsigned(UInt8.self)
            case "Double": room >= 8 ? .double(space.load(offset)) : nil
            case "Float": room >= 4 ? .float(space.load(offset)) : nil
            // Other values than 0 and 1 are no Bool.
            case "Bool": room >= 1 ? .bool(space.load(offset, as: UInt8.self) & 1 == 1) : nil
            default: nil
            }
        return known ?? .unknown([UInt8](space.bytes(offset, room)))
    }

    private func structure(_ fields: [StoredShape.Field], at offset: Int, room: Int) -> StoredContents {
        var bytes = [UInt8](space.bytes(offset, room))
        var owned: [StoredContents] = []
        for field in fields {
            // Where what it owns lies says nothing of what that is.
            let size =
                switch field.shape {
                case .bytes: 16
                case .fields, .plain: 0
                default: 8
                }
            if field.offset < room { for byte in field.offset..<min(room, field.offset + size) { bytes[byte] = 0 } }
            owned.append(contents(field.shape, at: offset + field.offset, room: max(0, room - field.offset)))
        }
        return .structure(bytes, owned)
    }

    private func array(_ header: Int, _ element: StoredShape) -> [StoredContents] {
        let storage: Int = space.read(header + 24)
        let stride = Int(space.read(header + 32, as: UInt32.self))
        return (0..<space.count(at: header)).map { contents(element, at: storage + $0 * stride, room: stride) }
    }

    private func pairs(
        ofTable header: Int, _ key: StoredShape, _ value: StoredShape
    ) -> [(StoredContents, StoredContents)] {
        let depth = Int(space.read(header + HashTableFormat.depth, as: UInt32.self))
        let directory: Int = space.read(header + HashTableFormat.directory)
        let slotStride = Int(space.read(header + HashTableFormat.slotStride, as: UInt32.self))
        let valueOffset = Int(space.read(header + HashTableFormat.valueOffset, as: UInt32.self))
        let chunkStride = (16 + HashTableFormat.slotsPerChunk * slotStride + 15) & ~15
        var found: [(StoredContents, StoredContents)] = []
        var index = 0
        while index < 1 << depth {
            let segment = HashTableFormat.Entry(bits: space.read(directory + index * 8))
            guard segment.bits != 0 else {
                index += 1
                continue
            }
            index += 1 << (depth - segment.localDepth)
            for chunk in 0..<segment.chunkCount {
                let start = segment.offset + chunk * chunkStride
                for lane in 0..<HashTableFormat.slotsPerChunk where space.read(start + lane, as: UInt8.self) != 0 {
                    let slot = start + 16 + lane * slotStride
                    found.append((
                        contents(key, at: slot, room: valueOffset),
                        contents(value, at: slot + valueOffset, room: slotStride - valueOffset)
                    ))
                }
            }
        }
        return found
    }

    private func pairs(
        ofTree header: Int, _ key: StoredShape, _ value: StoredShape
    ) -> [(StoredContents, StoredContents)] {
        let keyStride = Int(space.read(header + BTreeFormat.keyStride, as: UInt32.self))
        let valueStride = Int(space.read(header + BTreeFormat.valueStride, as: UInt32.self))
        let alignment = Int(space.read(header + BTreeFormat.valueAlignment, as: UInt32.self))
        func end(_ node: Int, alignedTo alignment: Int) -> Int {
            let capacity = Int(space.read(node + BTreeFormat.nodeCapacity, as: UInt32.self))
            return node + BTreeFormat.rounded(BTreeFormat.firstKey + capacity * keyStride, to: alignment)
        }
        var leaf: Int = space.read(header + BTreeFormat.root)
        for _ in 1..<max(1, Int(space.read(header + BTreeFormat.height, as: UInt32.self))) { leaf = space.read(end(leaf, alignedTo: 8)) }
        var found: [(StoredContents, StoredContents)] = []
        while leaf != 0 {
            let values = end(leaf, alignedTo: alignment)
            for slot in 0..<Int(space.read(leaf, as: UInt32.self)) {
                found.append((
                    contents(key, at: leaf + BTreeFormat.firstKey + slot * keyStride, room: keyStride),
                    contents(value, at: values + slot * valueStride, room: valueStride)
                ))
            }
            leaf = space.read(leaf + BTreeFormat.nextLeaf)
        }
        return found
    }
}
