/// What differs between two states of a heap: its roots, and of those whose types are known their elements.
package struct HeapDifference: Sendable {
    package enum Kind: String, Sendable { case added, removed, changed }

    /// An element that is not the same in both states.
    package struct Element: Sendable {
        package var kind: Kind
        /// The key, or the member of a set; the index of an array's element as a number.
        package var place: StoredContents
        /// Nil where there is none, and for members of sets.
        package var before: StoredContents?
        package var after: StoredContents?
    }

    package struct Root: Sendable {
        package var name: String
        package var kind: Kind
        /// The recorded layouts; empty where there is no such root.
        package var typeBefore = ""
        package var typeAfter = ""
        /// The version that the program gave the type.
        package var versionBefore = 0
        package var versionAfter = 0
        /// Whether the type, or a part of it, is not known here, and was compared by its bytes.
        package var isByBytes = false
        /// The values, where they are no collections.
        package var before: StoredContents?
        package var after: StoredContents?
        /// Of collections that are in both states, by their keys or indices.
        package var elements: [Element] = []
    }

    /// In the order of their names.
    package private(set) var roots: [Root] = []

    /// Compares two states. Reads the collections of both; all roots of a state that can't be read are `.damaged`.
    package init(from old: PersistentHeap, to new: PersistentHeap) throws(HeapError) {
        let before = try Self.records(old)
        let after = try Self.records(new)
        for name in Set(before.keys).union(after.keys).sorted() {
            switch (before[name], after[name]) {
            case (let was?, nil):
                roots.append(Root(name: name, kind: .removed, typeBefore: was.layout, versionBefore: was.version))
            case (nil, let now?):
                roots.append(Root(name: name, kind: .added, typeAfter: now.layout, versionAfter: now.version))
            case (let was?, let now?):
                if let root = try Self.compare(was, of: old, now, of: new) { roots.append(root) }
            case (nil, nil): break
            }
        }
    }

    private static func records(_ heap: PersistentHeap) throws(HeapError) -> [String: PersistentHeap.RootRecord] {
        Dictionary(try heap.rootRecords().map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    private static func compare(
        _ was: PersistentHeap.RootRecord, of old: PersistentHeap, _ now: PersistentHeap.RootRecord, of new: PersistentHeap
    ) throws(HeapError) -> Root? {
        var root = Root(
            name: was.name, kind: .changed, typeBefore: was.layout, typeAfter: now.layout, versionBefore: was.version,
            versionAfter: now.version)
        guard was.layout == now.layout, was.isContainer == now.isContainer else { return root }
        let before = try contents(was, of: old)
        let after = try contents(now, of: new)
        root.isByBytes = !before.isKnown || !after.isKnown
        if before == after { return was.version == now.version ? nil : root }
        if was.isContainer {
            root.elements = elements(before, after)
        } else {
            root.before = before
            root.after = after
        }
        return root
    }

    /// What a root holds. Throws `.damaged` where that contradicts itself.
    private static func contents(_ root: PersistentHeap.RootRecord, of heap: PersistentHeap) throws(HeapError) -> StoredContents {
        let space = heap.space
        let shape = StoredShape(layout: root.layout)
        var problem: String?
        let walk = ContainerWalk(space: space, visit: { _, _, _ in }, report: { problem = problem ?? $0 })
        if root.isContainer {
            walk.walk(shape, handle: ContainerHandle(offset: root.offset))
        } else {
            walk.walk(shape, at: root.offset)
        }
        if let problem {
            throw HeapError(.damaged, "the root '\(root.name)' can't be compared: \(problem)", advice: "Run `varve heap check`")
        }
        let reader = StoredReader(space: space)
        if root.isContainer { return reader.contents(shape, of: ContainerHandle(offset: root.offset)) }
        let room = space.knownBlock(at: root.offset) ?? 0
        if root.layout == bytesLayout, room >= 16 {
            let block: Int = space.load(root.offset)
            let count: Int = space.load(root.offset + 8)
            if block == 0, count == 0 { return .bytes([]) }
            if let size = space.knownBlock(at: block), count >= 0, count <= size { return .bytes([UInt8](space.bytes(block, count))) }
        }
        return reader.contents(shape, at: root.offset, room: min(room, recordedSize(root.layout) ?? room))
    }

    /// The layout of a root of bytes that C or Python made.
    private static let bytesLayout = "Bytes{block@0: Int, count@8: Int}"

    /// The size in the layout of another language's type, "name[8 bytes]".
    private static func recordedSize(_ layout: String) -> Int? {
        guard layout.hasSuffix(" bytes]"), let bracket = layout.lastIndex(of: "[") else { return nil }
        let size = Int(layout[layout.index(after: bracket)...].dropLast(" bytes]".count))
        return size.flatMap { $0 < 0 ? nil : $0 }
    }

    private static func elements(_ before: StoredContents, _ after: StoredContents) -> [Element] {
        switch (before, after) {
        case (.array(let old), .array(let new)):
            return (0..<max(old.count, new.count)).compactMap { index in
                element(.unsigned(UInt64(index)), index < old.count ? old[index] : nil, index < new.count ? new[index] : nil)
            }
        case (.pairs(let old), .pairs(let new)):
            let keys = old.keys.filter { new[$0] != old[$0] } + new.keys.filter { old[$0] == nil }
            return keys.sorted().compactMap { element($0, old[$0], new[$0]) }
        case (.set(let old), .set(let new)):
            return old.symmetricDifference(new).sorted().map { member in
                Element(kind: old.contains(member) ? .removed : .added, place: member)
            }
        default: return []
        }
    }

    private static func element(_ place: StoredContents, _ before: StoredContents?, _ after: StoredContents?) -> Element? {
        if before == after { return nil }
        return Element(kind: before == nil ? .added : after == nil ? .removed : .changed, place: place, before: before, after: after)
    }
}
