import Foundation
import TestSupport
import Testing
import Varve

/// Host files behind objects: served by a manager, or ingested.
@Suite struct HostFileManagerTests {
    let fixture = StoreFixture()
    private var file: String { fixture.folder.path + "/data" }

    private func open(_ options: Store.OpenOptions = .init()) throws -> (store: Store, task: VMTask) {
        try fixture.create()
        let store = try fixture.open(options)
        return (store, try store.task(named: "main"))
    }

    private func fill(_ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: file)) }

    /// Writes to the file as it is, in place.
    private func overwrite(_ bytes: [UInt8], at offset: UInt64) throws {
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
        try handle.seek(toOffset: offset)
        try handle.write(contentsOf: Data(bytes))
        try handle.close()
    }

    @Test(arguments: everyMode)
    func aFileIsReadAndWrittenBack(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
        try fill(bytes)
        let object = try store.makeObject(ofFile: file)
        #expect(object.size == 10_000)
        let address = try task.map(size: 10_000, object: object)
        #expect(try task.read(address: address, size: 12_288) == bytes + [UInt8](repeating: 0, count: 2288))
        task.pointer(address + 9_999).storeBytes(of: 250, as: UInt8.self)
        task.pointer(address + 1).storeBytes(of: 251, as: UInt8.self)
        // Beyond the file's end: in no file.
        task.pointer(address + 10_000).storeBytes(of: 252, as: UInt8.self)
        try store.commit()
        var wanted = bytes
        wanted[9_999] = 250
        wanted[1] = 251
        #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: file))) == wanted)
        task.pointer(address + 5000).storeBytes(of: 253, as: UInt8.self)
        try store.commit()
        wanted[5000] = 253
        #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: file))) == wanted)
        try store.close()
    }

    @Test(arguments: everyMode)
    func aFileThatOthersChangeIsNotServed(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        try fill([UInt8](repeating: 1, count: 64 * 4096))
        let object = try store.makeObject(ofFile: file, attributes: .init(clusterPages: 1))
        if options.demandFill == true {
            let address = try task.map(size: object.size, object: object)
            #expect(try task.read(address: address, size: 1) == [1])
            try overwrite([2], at: 8192)
            let error = failure { _ = try task.read(address: address + 8192, size: 1) }
            #expect(error?.code == .memoryError && error?.message.contains("changed") == true)
            #expect(task.lastFault(address + 8192)?.offset == 8192)
            #expect(try task.read(address: address, size: 1) == [1])
            // Nor is it overwritten.
            task.pointer(address).storeBytes(of: 9, as: UInt8.self)
            #expect { try store.commit() } throws: { ($0 as? StoreError)?.code == .notReturned }
            #expect(try Data(contentsOf: URL(fileURLWithPath: file))[0] == 1)
        } else {
            // All of it is given before another is mapped.
            let address = try task.map(size: object.size, object: object)
            try overwrite([2], at: 8192)
            #expect(try task.read(address: address + 8192, size: 1) == [1])
            task.pointer(address).storeBytes(of: 9, as: UInt8.self)
            #expect { try store.commit() } throws: { ($0 as? StoreError)?.code == .notReturned }
        }
        try store.close()
    }

    /// As long as nobody was given a page of it: of what then is there, all is of one moment.
    @Test(arguments: everyMode)
    func aFileThatChangesBeforeItIsUsedIsReadAgain(_ options: Store.OpenOptions) throws {
        let (store, task) = try open(options)
        try fill([UInt8](repeating: 1, count: 64 * 4096))
        let object = try store.makeObject(ofFile: file, attributes: .init(clusterPages: 1))
        try overwrite([2], at: 8192)
        let copy = try task.map(size: object.size, object: object, copy: true)
        #expect(try task.read(address: copy, size: 1) == [1] && task.read(address: copy + 8192, size: 1) == [2])
        // Another length is another object.
        let other = try store.makeObject(ofFile: file, attributes: .init(clusterPages: 1))
        try fill([UInt8](repeating: 3, count: 65 * 4096))
        #expect(failure { try task.map(size: other.size, object: other, copy: true) }?.code == .memoryError)
        try store.close()
    }

    @Test func readOnlyAndUnfitFiles() throws {
        let (store, task) = try open()
        try fill([UInt8](repeating: 1, count: 4096))
        let object = try store.makeObject(ofFile: file, writable: false)
        #expect(failure { try task.map(size: 4096, object: object) }?.code == .protectionFailure)
        let address = try task.map(size: 4096, object: object, current: .read, maximum: .read)
        #expect(try task.read(address: address, size: 1) == [1])
        #expect(failure { _ = try store.makeObject(ofFile: fixture.folder.path) } != nil)
        #expect(failure { _ = try store.makeObject(ofFile: file + "x") } != nil)
        try store.close()
    }

    @Test func aFileIsIngestedOnceAndAgainWhenItChanges() throws {
        var (store, task) = try open()
        let first = (0..<20 * 4096).map { UInt8(truncatingIfNeeded: $0 / 4096 + 1) }
        try fill(first)
        let object = try store.fileObject(path: file, named: "base")
        #expect(object.size == UInt64(first.count))
        let address = try task.map(size: object.size, object: object)
        #expect(try task.read(address: address, size: object.size) == first)
        task.pointer(address).storeBytes(of: 99, as: UInt8.self)
        let version = try store.commit()
        // The file is as it was: the object too, with what was committed to it.
        #expect(try store.fileObject(path: file, named: "base") == object)
        #expect(try store.commit() == version)
        // Nothing that happens to the file changes what is read.
        let copy = try task.map(size: object.size, object: object, copy: true)
        let second = [UInt8](repeating: 7, count: 3 * 4096) + [UInt8](repeating: 0, count: 4096) + [8, 9]
        try fill(second)
        #expect(try task.read(address: address + 4096, size: object.size - 4096) == [UInt8](first[4096...]))
        #expect { try store.fileObject(path: file, named: "base") } throws: { ($0 as? StoreError)?.code == .busy }
        try task.deallocate(address: address, size: object.size)
        try store.commit()
        let again = try store.fileObject(path: file, named: "base")
        #expect(again.id == object.id && again.size == UInt64(second.count))
        let mapped = try task.map(size: again.size, object: again)
        #expect(try task.read(address: mapped, size: UInt64(second.count)) == second)
        #expect(try task.read(address: copy + 4096, size: object.size - 4096) == [UInt8](first[4096...]))
        #expect(try task.read(address: copy, size: 1) == [99])
        try store.commit()
        try store.close()
        store = try fixture.open()
        task = try store.task(named: "main")
        #expect(try store.fileObject(path: file, named: "base") == again)
        #expect(try task.read(address: mapped, size: UInt64(second.count)) == second)
        #expect(try store.snapshots().count == 1)
        // Grown again, nothing of the first state shows.
        try task.deallocate(address: mapped, size: again.size)
        try store.commit()
        _ = try store.resizeObject("base", to: UInt64(first.count))
        #expect(try store.mapState(.init(name: "base")).withBytes { $0[second.count..<first.count].allSatisfy { $0 == 0 } })
        try store.createObject(named: "other", size: 4096)
        #expect { try store.fileObject(path: file, named: "other") } throws: { ($0 as? StoreError)?.code == .exists }
        try store.close()
    }

    @Test func aFileOfHolesReplacesWhatWasThere() throws {
        let (store, _) = try open()
        try fill([UInt8](repeating: 5, count: 8 * 4096))
        let object = try store.fileObject(path: file, named: "base")
        try fill([UInt8](repeating: 0, count: 8 * 4096))
        #expect(try store.fileObject(path: file, named: "base").id == object.id)
        #expect(try store.mapState(.init(name: "base")).withBytes { $0.allSatisfy { $0 == 0 } && $0.count == 8 * 4096 })
        try store.close()
    }
}
