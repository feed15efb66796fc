#if DEBUG
internal import Foundation
internal import TestSupport
internal import Varve
internal import VMTypes

/// A store in which there is something of everything, closed; it goes with its last reference.
final class RealStore {
    private let folder = TemporaryFolder("real-store", inMemory: true)
    var path: String { folder.path + "/store.varve" }

    init() throws {
        try Store.create(path, options: .init(ringBytes: 1 << 20))
        let store = try Store.open(path)
        try store.setRetention(Retention(versions: 4, seconds: 60))
        let task = try store.task(named: "task")
        let page = UInt64(4096)
        let object = try store.createObject(named: "first", size: 8 * page)
        let address = try task.map(size: 8 * page, object: object)
        for version in 1...4 {
            for word in stride(from: 0, to: 8 * 512, by: version * 100) { (task.pointer(address) + word * 8).storeBytes(of: word + version, as: Int.self) }
            try store.commit(message: "number \(version)")
        }
        try store.createSnapshot("whole")
        try store.createSnapshot("one", object: "first")
        try store.renameSnapshot("one", to: "other")
        try store.clone(.init(name: "first", state: .snapshot("whole")), as: "clone")
        try store.createObject(named: "gone", size: 3 * page)
        try store.renameObject("gone", to: "soon gone")
        try store.resizeObject("soon gone", to: 2 * page)
        try store.deleteObject("soon gone")
        let scratch = try task.allocate(size: 2 * page)
        (task.pointer(scratch)).storeBytes(of: 7, as: Int.self)
        try task.protect(address: address, size: 2 * page, .read)
        try store.commit()
        try task.deallocate(address: scratch, size: page)
        try store.commit()
        try store.rollback(to: .snapshot("whole"), object: "first")
        try store.deleteSnapshot("other")
        try store.close()
    }
}
#endif
