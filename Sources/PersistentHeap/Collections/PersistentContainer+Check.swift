extension PersistentContainer {
    /// The blocks that this collection and all that it holds have in the heap, and what contradicts itself in them.
    private func walk(_ visit: @escaping (Int, Int, String) -> Void, _ report: @escaping (String) -> Void) {
        ContainerWalk(space: space, visit: visit, report: report).walk(StoredShape(layout: Self.layout.text), handle: handle)
    }

    /// How many bytes of the heap this collection and all that it holds have asked for. O(size).
    public var byteCount: Int {
        var total = 0
        walk({ _, bytes, _ in total += bytes }, { _ in })
        return total
    }

    /// Checks the collection and all that it holds: that counts, offsets and orders agree, and that keys are where they are
    /// looked for. O(size).
    ///
    /// - Returns: A sentence for each contradiction; none where all is well.
    public func check() -> [String] {
        var findings: [String] = []
        var blocks: Set<Int> = []
        var doubled: [String] = []
        walk({ offset, _, what in if !blocks.insert(offset).inserted { doubled.append("two own the \(what) at offset \(offset)") } }) {
            findings.append($0)
        }
        findings += doubled
        return findings.isEmpty ? checkKeys() : findings
    }
}

extension PersistentArray {
    public var handle: ContainerHandle { ContainerHandle(offset: header) }
    public func checkKeys() -> [String] { [] }
}

extension PersistentSet {
    public var handle: ContainerHandle { table.handle }
    public func checkKeys() -> [String] { table.checkKeys() }
}

extension PersistentDictionary {
    public var handle: ContainerHandle { ContainerHandle(offset: header) }
    public func checkKeys() -> [String] {
        keys.filter { $0 == $0 && !contains($0) }.map { "The dictionary at offset \(header) has the key \($0), and does not find it" }
    }
}

extension PersistentSortedMap {
    public var handle: ContainerHandle { ContainerHandle(offset: header) }
    public func checkKeys() -> [String] {
        keys.filter { !contains($0) }.map { "The sorted map at offset \(header) has the key \($0), and does not find it" }
    }
}
