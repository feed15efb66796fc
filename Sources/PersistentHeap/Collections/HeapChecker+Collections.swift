extension HeapChecker {
    /// Walks the collections of all roots, by their recorded layouts: what they own should be allocated, and owned once.
    mutating func checkCollections(_ space: HeapSpace, _ directory: RootDirectory) {
        var problems: [String] = []
        var owned: Set<Int> = []
        let walk = ContainerWalk(
            space: space,
            visit: { offset, byteCount, what in
                if !owned.insert(offset).inserted { problems.append("the \(what) at offset \(offset) has two owners") }
                guard let usable = try? space.usableSize(offset), usable >= byteCount else {
                    return problems.append("the \(what) at offset \(offset) is no allocated block of \(byteCount) bytes")
                }
            },
            report: { problems.append($0) })
        for number in 0..<Swift.max(directory.count, 0) {
            guard let bytes = try? space.usableSize(space.header(HeapFormat.directoryOffset)),
                (number + 1) * MemoryLayout<RootDirectory.Record>.stride <= bytes
            else { break }
            let record = directory.record(number)
            guard record.kind == RootDirectory.containerKind, let usable = try? space.usableSize(record.layout),
                usable >= Int(record.layoutBytes)
            else { continue }
            walk.walk(
                StoredShape(layout: directory.text(record.layout, record.layoutBytes)), handle: ContainerHandle(offset: record.value))
        }
        for problem in problems { report.note(problem) }
    }
}
