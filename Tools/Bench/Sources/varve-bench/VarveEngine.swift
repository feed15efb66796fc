import Glibc
import Varve

/// Varve: plain stores to a mapped object, and a commit of what they changed.
final class VarveEngine: CommitEngine {
    private let store: Store
    private let task: VMTask
    private let address: UInt64
    private let declares: Bool
    /// Bytes of each page that a commit changes.
    private let bytes: Int

    init(directory: String, pageCount: Int, fill: (UnsafeMutableRawBufferPointer) -> Void, declares: Bool, bytes: Int) throws {
        self.bytes = bytes
        self.declares = declares
        try Store.create(directory + "/store")
        store = try Store.open(directory + "/store")
        let bytes = UInt64(pageCount * Page.size)
        let object = try store.createObject(named: "object", size: bytes, residency: .exclusive)
        task = try store.task(named: "bench")
        address = try task.map(size: bytes, object: object)
        fill(UnsafeMutableRawBufferPointer(start: task.pointer(address), count: Int(bytes)))
        try store.commit()
    }

    func commit(pages: UnsafeBufferPointer<UInt32>, contents: UnsafeRawBufferPointer) throws {
        for (index, page) in pages.enumerated() {
            // Few bytes lie at another place of each page.
            let offset = Int(page) * bytes % Page.size
            let target = address + UInt64(page) * UInt64(Page.size) + UInt64(offset)
            if declares { task.touch(address: target, size: UInt64(bytes)) }
            memcpy(task.pointer(target), contents.baseAddress! + index * Page.size + offset, bytes)
        }
        try store.commit(declaredOnly: declares)
    }

    func finish() throws { try store.close() }
}
