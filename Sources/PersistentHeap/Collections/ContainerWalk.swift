/// Goes through collections by what their layouts say, without the program's types: for checks, and for what of a heap is
/// reachable.
///
/// It follows nothing that lies outside of the heap, whatever the bytes are, and reports all that contradicts itself. Keys of
/// types that it does not know are not hashed or compared; a collection's own `check` does that too.
package struct ContainerWalk {
    let space: HeapSpace
    /// Called with each block that a collection owns: where it begins, how many bytes of it are used, and what it is.
    private let visit: (Int, Int, String) -> Void
    /// Called with each contradiction.
    private let report: (String) -> Void

    package init(
        space: HeapSpace, visit: @escaping (_ offset: Int, _ byteCount: Int, _ what: String) -> Void,
        report: @escaping (String) -> Void
    ) {
        self.space = space
        self.visit = visit
        self.report = report
    }

    /// Walks what the stored value at an offset owns, and what that owns in turn.
    package func walk(_ shape: StoredShape, at offset: Int) {
        guard !shape.ownsMemory || space.holds(offset, 16, alignment: 1) else { return report("a value at offset \(offset), outside of the heap") }
        switch shape {
        case .plain: return
        case .fields(let fields): for field in fields { walk(field.shape, at: offset + field.offset) }
        case .bytes(let isText): walkBytes(at: offset, isText: isText)
        case .array, .dictionary, .set, .sortedMap:
            let handle: ContainerHandle = space.load(offset)
            walk(shape, handle: handle)
            if space.holds(handle.offset, 8, alignment: 8), space.read(handle.offset + 4, as: UInt32.self) & 1 == 0 {
                report("the collection at offset \(handle.offset) is held at offset \(offset), and not marked so")
            }
        }
    }

    /// Walks the collection of a handle.
    package func walk(_ shape: StoredShape, handle: ContainerHandle) {
        switch shape {
        case .array(let element): walkArray(handle.offset, element)
        case .dictionary(let key, let value): walkDictionary(handle.offset, key, value)
        case .set(let member): walkDictionary(handle.offset, member, .plain(name: ""))
        case .sortedMap(let key, let value): walkSortedMap(handle.offset, key, value)
        default: return
        }
    }

    func found(_ kind: ContainerKind, _ header: Int, _ text: String) { report("\(kind.name) at offset \(header): \(text)") }

    func visited(_ offset: Int, _ byteCount: Int, _ what: String) { visit(offset, byteCount, what) }

    private func walkBytes(at offset: Int, isText: Bool) {
        let bytes: PersistentBytes = space.load(offset)
        guard bytes.isSound(in: space) else {
            return report("\(isText ? "a string" : "bytes") at offset \(offset): \(bytes.damage.message)")
        }
        if !bytes.isInline { visit(Int(bytes.low), bytes.count, isText ? "string" : "bytes") }
        if isText, bytes.withBytes(in: space, { String(validating: $0, as: UTF8.self) == nil }) {
            report("a string at offset \(offset): its \(bytes.count) bytes are not UTF-8")
        }
    }

    /// Whether the header is one of the kind, and reports it where not.
    func isHeader(_ kind: ContainerKind, _ header: Int, byteCount: Int) -> Bool {
        do throws(HeapError) { try space.validateHeader(kind, at: header, byteCount: byteCount) } catch {
            report(error.message)
            return false
        }
        visit(header, byteCount, "header of \(kind.name)")
        return true
    }

    private func walkArray(_ header: Int, _ element: StoredShape) {
        guard isHeader(.array, header, byteCount: 40) else { return }
        let count: Int = space.read(header + 8)
        let capacity: Int = space.read(header + 16)
        let storage: Int = space.read(header + 24)
        let stride = Int(space.read(header + 32, as: UInt32.self))
        let (bytes, overflow) = capacity.multipliedReportingOverflow(by: stride)
        guard count >= 0, count <= capacity, !overflow, stride > 0, capacity == 0 ? storage == 0 : space.holds(storage, bytes, alignment: 1) else {
            return found(.array, header, "\(count) of \(capacity) elements of \(stride) bytes at offset \(storage)")
        }
        if capacity > 0 { visit(storage, bytes, "elements of an array") }
        guard element.ownsMemory else { return }
        for index in 0..<count { walk(element, at: storage + index * stride) }
    }
}
