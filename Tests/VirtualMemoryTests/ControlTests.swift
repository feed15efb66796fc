import Foundation
import Glibc
import PageStore
import TestSupport
import Testing
import Varve

/// Processes that ask a writer, rightly or not.
@Suite struct ControlTests {
    let fixture = StoreFixture()

    private func connectToWriter() -> Int32 {
        let folder = open(fixture.path, O_RDONLY | O_DIRECTORY)
        defer { close(folder) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array("/proc/self/fd/\(folder)/control".utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(result == 0)
        return descriptor
    }

    @Test func whatIsNoRequestIsHungUpOnAndTheNextOneAnswered() async throws {
        try fixture.create()
        let store = try fixture.open()
        for text in ["\n", "hello\n", "{}\n", "{\"kind\":\"explode\"}\n", "\u{0}\u{1}\n", String(repeating: "x", count: 100_000)] {
            let descriptor = connectToWriter()
            _ = text.withCString { send(descriptor, $0, strlen($0), Int32(0x4000)) }
            if !text.hasSuffix("\n") { shutdown(descriptor, Int32(SHUT_WR)) }
            var byte: UInt8 = 0
            #expect(recv(descriptor, &byte, 1, 0) <= 0)
            close(descriptor)
        }
        let path: String = fixture.path
        await #expect(processExitsWith: .success) { [path = path as String] in
            quietEnd()
            let reader = try Store.open(path, options: .init(access: .read))
            try reader.createSnapshot("s")
            try reader.close()
        }
        try store.close()
    }

    @Test(.timeLimit(.minutes(10)))
    func closingDoesNotWaitForASilentClient() throws {
        try fixture.create()
        let store = try fixture.open()
        let descriptor = connectToWriter()
        _ = send(descriptor, "{\"ki", 4, 0)
        usleep(50_000)
        try store.close()
        try store.close()
        var byte: UInt8 = 0
        #expect(recv(descriptor, &byte, 1, 0) <= 0)
        close(descriptor)
        #expect(throws: StoreError.self) { try store.commit() }
        #expect(throws: StoreError.self) { try store.objects() }
        #expect(throws: StoreError.self) { try store.createObject(named: "a", size: 1) }
        try fixture.open().close()
    }

    @Test func anotherProcessAsksForEverythingWhileTheWriterCommits() async throws {
        try fixture.create()
        let store = try fixture.open()
        let task = try store.task(named: "main")
        let address = try task.map(size: 64 * 4096, object: try store.createObject(named: "a", size: 64 * 4096))
        try store.commit()
        let ends = DispatchSemaphore(value: 0)
        let ended = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            var round = 1
            while ends.wait(timeout: .now()) == .timedOut {
                for page in 0..<64 { task.pointer(address + UInt64(page * 4096)).storeBytes(of: round, as: Int.self) }
                do { try store.commit() } catch { Issue.record("\(error)") }
                round += 1
            }
            ended.signal()
        }
        let path: String = fixture.path
        await #expect(processExitsWith: .success) { [path = path as String] in
            quietEnd()
            let reader = try Store.open(path, options: .init(access: .automatic))
            #expect(!reader.isWriter)
            func sameEverywhere(_ bytes: UnsafeRawBufferPointer) -> Bool {
                Set((0..<64).map { bytes.load(fromByteOffset: $0 * 4096, as: Int.self) }).count == 1
            }
            for round in 0..<10 {
                try reader.createSnapshot("s\(round)")
                #expect { try reader.createSnapshot("s\(round)") } throws: { ($0 as? StoreError)?.code == .exists }
                if round % 2 == 0 { try reader.renameSnapshot("s\(round)", to: "t\(round)") }
                if round % 3 == 0 { try reader.reclaim() }
                if round == 5 { try reader.setRetention(Retention(versions: 3, seconds: 0)) }
            }
            try reader.deleteSnapshot("s9")
            #expect { try reader.deleteSnapshot("s9") } throws: { ($0 as? StoreError)?.code == .notFound }
            try reader.backup(to: path + "-copy")
            try reader.close()
            let again = try Store.open(path, options: .init(access: .read))
            for name in try again.snapshots().map(\.name) {
                #expect(try again.mapState(.init(name: "a", state: .snapshot(name))).withBytes(sameEverywhere))
            }
            try again.close()
            let copy = try Store.open(path + "-copy")
            #expect(try copy.snapshots().count == 9)
            #expect(try copy.mapState(.init(name: "a")).withBytes(sameEverywhere))
            try copy.close()
        }
        ends.signal()
        ended.wait()
        #expect(try store.snapshots().count == 9)
        #expect(store.retention.versions == 3)
        try store.close()
    }
}
