import Foundation
import Glibc
import TestSupport
import Testing
import Varve

/// Kills this process after so many microseconds.
private func killOneself(after microseconds: UInt32) {
    Thread.detachNewThread {
        usleep(microseconds)
        kill(getpid(), SIGKILL)
    }
}

/// Processes that share objects, and end at any moment.
@Suite struct ServeKillTests {
    /// Each page of the object holds one number many times over, written front to back.
    static let pages = 64

    static func store(_ number: Int, in task: RemoteTask, at address: UInt64, page: Int) {
        let bytes = task.pointer(address + UInt64(page * 4096))
        for offset in stride(from: 0, to: 4096, by: 8) { bytes.storeBytes(of: number, toByteOffset: offset, as: Int.self) }
    }

    /// Works on the served store until something ends; what it is told when that happens.
    static func work(_ path: String, seed: UInt64) -> StoreError? {
        var random = SeededGenerator(seed: seed)
        do throws(StoreError) {
            let remote = try RemoteStore.connect(path, patience: .seconds(20))
            let task = try remote.task()
            while true {
                let object = try remote.object(named: "a")
                let address: UInt64
                do throws(VMError) { address = try task.map(size: UInt64(pages * 4096), object: object, maximum: .default) } catch {
                    return StoreError(.invalid, error.description)
                }
                for _ in 0..<Int.random(in: 1...20, using: &random) {
                    store(Int.random(in: 1...1_000_000, using: &random), in: task, at: address, page: Int.random(in: 0..<pages, using: &random))
                }
                if Bool.random(using: &random) { try remote.commit(durability: Bool.random(using: &random) ? .synced : .deferred) }
                try? task.deallocate(address: address, size: UInt64(pages * 4096))
            }
        } catch { return error }
    }

    @Test(.timeLimit(.minutes(30)))
    func clientsThatAreKilledLoseNothingOfTheOthers() async throws {
        let fixture = StoreFixture()
        try fixture.create()
        let store = try fixture.open()
        try store.createObject(named: "a", size: UInt64(Self.pages * 4096))
        let task = try store.task(named: "main")
        let own = try task.map(size: 4096, object: try store.createObject(named: "own", size: 4096))
        let path: String = fixture.path
        for round in 0..<Budget.of(quick: 10, default: 40, full: 120) {
            let delay = UInt32.random(in: 1_000...40_000)
            task.pointer(own).storeBytes(of: round, as: Int.self)
            await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String, round = round as Int, delay = delay as UInt32] in
                quietEnd()
                killOneself(after: delay)
                let error = ServeKillTests.work(path, seed: UInt64(round))
                Issue.record("\(String(describing: error))")
            }
            if round % 3 == 0 { try store.commit() }
        }
        // Every port has come back.
        for _ in 0..<5000 where store.attachments.processes > 0 { usleep(1000) }
        #expect(store.attachments == (0, 0))
        try store.commit()
        #expect(try !store.hasUncommittedChanges())
        _ = try store.verify { Issue.record("\($0)") }
        try store.close()
        let again = try fixture.open()
        try again.resizeObject("a", to: 4096)
        try again.close()
    }

    @Test(.timeLimit(.minutes(30)))
    func aServerThatIsKilledLeavesClearErrorsAndAWholeStore() async throws {
        let fixture = StoreFixture()
        try fixture.create()
        let made = try fixture.open()
        try made.createObject(named: "a", size: UInt64(Self.pages * 4096))
        try made.close()
        let path: String = fixture.path
        for round in 0..<Budget.of(quick: 10, default: 40, full: 120) {
            let delay = UInt32.random(in: 5_000...60_000)
            let ended = DispatchSemaphore(value: 0)
            let failures = Failures()
            for worker in 0..<2 {
                Thread.detachNewThread {
                    // The server may not be there yet.
                    for _ in 0..<2000 {
                        guard let error = ServeKillTests.work(path, seed: UInt64(round * 2 + worker)) else { break }
                        if error.code == .noStore, !failures.isOver {
                            usleep(1000)
                            continue
                        }
                        failures.add(error)
                        break
                    }
                    ended.signal()
                }
            }
            await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String, delay = delay as UInt32] in
                quietEnd()
                let store = try Store.open(path)
                killOneself(after: delay)
                try withExtendedLifetime(store) { while true { try store.commit() } }
            }
            failures.end()
            for _ in 0..<2 { #expect(ended.wait(timeout: .now() + 60) == .success, "a client hangs") }
            for error in failures.all { #expect([.io, .unknownOutcome, .noStore].contains(error.code), "\(error)") }
            let store = try fixture.open()
            _ = try store.verify { Issue.record("\($0)") }
            try store.close()
        }
    }

    /// What clients were told.
    private final class Failures: @unchecked Sendable {
        private let lock = NSLock()
        private var errors: [StoreError] = []
        private var over = false

        func add(_ error: StoreError) { lock.withLock { errors.append(error) } }
        func end() { lock.withLock { over = true } }
        var isOver: Bool { lock.withLock { over } }
        var all: [StoreError] { lock.withLock { errors } }
    }

    /// A socket that is attached, for what no client of ours would send.
    private static func attach(_ path: String) -> Int32 {
        let folder = open(path, O_RDONLY | O_DIRECTORY)
        defer { close(folder) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array("/proc/self/fd/\(folder)/control".utf8)) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        #expect(result == 0)
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        send(Array("{\"kind\":\"attach\"}\n".utf8), to: descriptor)
        var byte: UInt8 = 0
        while recv(descriptor, &byte, 1, 0) == 1, byte != 10 {}
        return descriptor
    }

    private static func send(_ bytes: [UInt8], to descriptor: Int32) {
        _ = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(0x4000)) }
    }

    @Test(.timeLimit(.minutes(10)))
    func whatIsNoRequestEndsItsConnectionAlone() throws {
        let fixture = StoreFixture()
        try fixture.create()
        let store = try fixture.open()
        try store.createObject(named: "a", size: 8192)
        let remote = try RemoteStore.connect(fixture.path)
        let object = try remote.object(named: "a")
        var random = SeededGenerator(seed: 7)
        let valid = [
            "{\"kind\":\"object\",\"name\":\"a\",\"writes\":true}\n", "{\"kind\":\"release\",\"port\":1}\n",
            "{\"kind\":\"commit\",\"message\":\"m\",\"isDeferred\":true}\n", "{\"kind\":\"createSnapshot\",\"name\":\"s\"}\n",
        ].map { Array($0.utf8) }
        for round in 0..<Budget.of(quick: 100, default: 400, full: 4000) {
            let socket = Self.attach(fixture.path)
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                var bytes = valid.randomElement(using: &random)!
                switch Int.random(in: 0..<5, using: &random) {
                case 0: bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.removeSubrange(Int.random(in: 0..<bytes.count, using: &random)...)
                case 2: bytes = (0..<Int.random(in: 1...200, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
                case 3: bytes.insert(contentsOf: bytes, at: Int.random(in: 0..<bytes.count, using: &random))
                default: break
                }
                Self.send(bytes, to: socket)
            }
            shutdown(socket, Int32(SHUT_WR))
            // The other side ends too, after whatever it answers.
            var bytes = [UInt8](repeating: 0, count: 4096)
            var count = recv(socket, &bytes, bytes.count, 0)
            while count > 0 { count = recv(socket, &bytes, bytes.count, 0) }
            #expect(count == 0 || errno == ECONNRESET, "round \(round)")
            close(socket)
        }
        let long = Self.attach(fixture.path)
        Self.send([UInt8](repeating: 120, count: 100_000), to: long)
        var byte: UInt8 = 0
        #expect(recv(long, &byte, 1, 0) <= 0)
        close(long)
        for _ in 0..<5000 where store.attachments.processes > 1 { usleep(1000) }
        #expect(store.attachments == (1, 1))
        try remote.commit()
        #expect(object.size == 8192)
        _ = try store.verify { Issue.record("\($0)") }
        try store.close()
    }

    @Test(.timeLimit(.minutes(5)), .enabled(if: getuid() == 0, "needs root, to become somebody else"))
    func othersAreRefusedOrMayReadAlone() async throws {
        let fixture = StoreFixture()
        try fixture.create()
        let store = try fixture.open()
        try store.createObject(named: "a", size: 4096)
        let nobody: uid_t = 65534
        chmod(fixture.folder.path, 0o755)
        chmod(fixture.path, 0o755)
        let path: String = fixture.path
        await #expect(processExitsWith: .success) { [path = path as String] in
            quietEnd()
            #expect(setgroups(0, nil) == 0 && setgid(65534) == 0 && setuid(65534) == 0)
            #expect { try RemoteStore.connect(path) } throws: { ($0 as? StoreError)?.errno == EACCES }
        }
        // Whom the socket's mode would let in is asked who it is all the same.
        chmod(fixture.path + "/control", 0o666)
        await #expect(processExitsWith: .success) { [path = path as String] in
            quietEnd()
            #expect(setgroups(0, nil) == 0 && setgid(65534) == 0 && setuid(65534) == 0)
            #expect { try RemoteStore.connect(path) } throws: { ($0 as? StoreError)?.code == .io }
        }
        chown(fixture.path, uid_t.max, nobody)
        try store.serve(.groupReads)
        await #expect(processExitsWith: .success) { [path = path as String] in
            quietEnd()
            #expect(setgroups(0, nil) == 0 && setgid(65534) == 0 && setuid(65534) == 0)
            let remote = try RemoteStore.connect(path)
            func code(_ body: () throws -> Void) -> StoreError.Code? {
                do { try body() } catch { return (error as? StoreError)?.code }
                return nil
            }
            #expect(code { _ = try remote.object(named: "a") } == .readOnly)
            #expect(code { try remote.commit() } == .readOnly)
            #expect(code { try remote.createSnapshot("s") } == .readOnly)
            let object = try remote.object(named: "a", rights: .read)
            let task = try remote.task()
            let address = try task.map(size: 4096, object: object, current: .read, maximum: .read)
            #expect(task.pointer(address).load(as: Int.self) == 0)
            #expect(mprotect(task.pointer(address), 4096, PROT_READ | PROT_WRITE) == -1)
            // Nor through the file of the mapping, opened anew.
            let line = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8).split(separator: "\n").first { $0.contains("memfd:varve") }
            let range = try #require(line?.split(separator: " ").first)
            #expect(open("/proc/self/map_files/\(range)", O_RDWR) == -1)
            for number in 0..<64 where (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(number)"))?.contains("memfd:varve") == true {
                #expect(open("/proc/self/fd/\(number)", O_RDWR) == -1 && errno == EACCES)
                #expect(write(Int32(number), "x", 1) == -1)
            }
        }
        #expect(try !store.hasUncommittedChanges())
        try store.close()
    }
}
