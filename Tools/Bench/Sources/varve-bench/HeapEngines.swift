import ArgumentParser
import Foundation
import Glibc
import Varve

/// `varve-bench heap-engine DIR`: the heap's allocator under the mixes, as the peers of `peers/heap`.
struct HeapEngineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "heap-engine", shouldDisplay: false)

    @Argument var directory: String

    private struct Allocator: MixAllocator, Sendable {
        let heap: PersistentHeap

        @inline(__always)
        func allocate(_ byteCount: Int) throws -> UnsafeMutableRawPointer {
            let block = try heap.allocate(byteCount: byteCount)
            heap.willWrite(block, byteCount: 8)
            return block
        }

        @inline(__always)
        func free(_ block: UnsafeMutableRawPointer) throws { try heap.deallocate(block) }
    }

    func run() throws {
        let allocator = Allocator(heap: try PersistentHeap.open(directory + "/heap.varve"))
        try OperationHost.serve { words in
            guard words.count == 3, let mix = AllocationMix(rawValue: words[0]), let threads = Int(words[1]), let operations = Int(words[2])
            else { throw BenchError("not understood: \(words)") }
            // Pages are tracked anew after each commit, as in use; the first stores to them are part of what is timed.
            try allocator.heap.commit(durability: .deferred, declaredOnly: true)
            let others = (1..<threads).map { number in
                let thread = Thread {
                    do { try mix.run(allocator, operations: operations, seed: UInt64(number + 1)) } catch {
                        StandardError.print("\(error)")
                        Glibc.exit(1)
                    }
                }
                thread.start()
                return thread
            }
            try mix.run(allocator, operations: operations, seed: 1)
            for thread in others { while !thread.isFinished { usleep(100) } }
            return operations * threads
        }
        try allocator.heap.close()
    }
}

/// `varve-bench dictionary-engine DIR`: a dictionary in a heap, as the peers of `peers/dictionary`.
struct DictionaryEngineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "dictionary-engine", shouldDisplay: false)

    @Argument var directory: String

    func run() throws {
        let heap = try PersistentHeap.open(directory + "/heap.varve")
        let dictionary = try heap.root("entries", of: PersistentDictionary<UInt64, UInt64>.self)
        var random = MixRandom(state: 1)
        try OperationHost.serve { words in
            guard words.count == 4, let keys = Int(words[1]), let count = Int(words[2]), let batch = Int(words[3]) else {
                throw BenchError("not understood: \(words)")
            }
            for done in stride(from: 0, to: count, by: batch) {
                switch words[0] {
                case "insert":
                    for number in keys + done..<keys + done + batch { dictionary[EntryKey.of(number)] = random.next() }
                    try heap.commit(declaredOnly: true)
                case "update":
                    for _ in 0..<batch {
                        let key = EntryKey.of(Int(random.next() % UInt64(keys)))
                        dictionary[key] = random.next()
                    }
                    try heap.commit(declaredOnly: true)
                default:
                    for _ in 0..<batch where dictionary[EntryKey.of(Int(random.next() % UInt64(keys)))] == nil {
                        throw BenchError("no such key")
                    }
                }
            }
            return count
        }
        try heap.close()
    }
}

/// The key that was inserted as the `number`th.
enum EntryKey {
    @inline(__always)
    static func of(_ number: Int) -> UInt64 { MixRandom.scattered(UInt64(number + 1)) }
}

/// `varve-bench heap-look-up PATH NUMBER`: opens a heap and looks one entry up. Nothing, where the number is below 0.
enum HeapLookUp {
    static let name = "heap-look-up"

    /// The process that is timed.
    static func run(_ arguments: [String]) throws {
        guard arguments.count == 2, let number = Int(arguments[1]) else { throw BenchError("heap-look-up takes a path and a number") }
        guard number >= 0 else { return }
        let heap = try PersistentHeap.open(arguments[0])
        let dictionary = try heap.root("entries", of: PersistentDictionary<UInt64, UInt64>.self)
        guard dictionary[EntryKey.of(number)] == UInt64(number) else { throw BenchError("entry \(number) is not there") }
        try heap.close()
    }
}

/// How long a fresh process takes to look up an entry of a heap.
struct HeapReopening {
    let entries: Int
    let runs: Int

    func measure(in workspace: Workspace) throws -> [(name: String, times: Times)] {
        let path = try workspace.makeFolder("reopening") + "/heap.varve"
        let heap = try PersistentHeap.open(path)
        let dictionary = try heap.root("entries", of: PersistentDictionary<UInt64, UInt64>.self)
        for number in 0..<entries { dictionary[EntryKey.of(number)] = UInt64(number) }
        try heap.close(committing: "entries")
        var nothing = Times(), lookUp = Times()
        for run in 0..<runs {
            nothing.add(try process(path, -1))
            lookUp.add(try process(path, run * 7919 % entries))
        }
        return [("a process that does nothing", nothing), ("open, look up, close", lookUp)]
    }

    private func process(_ path: String, _ number: Int) throws -> Double {
        let words = ["varve-bench", HeapLookUp.name, path, "\(number)"]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0, status: Int32 = 0
        let (code, seconds) = timed {
            let code = posix_spawn(&pid, "/proc/self/exe", nil, nil, arguments, environ)
            if code == 0 { waitpid(pid, &status, 0) }
            return code
        }
        guard code == 0 else { throw BenchError("cannot start a process: \(String(cString: strerror(code)))") }
        guard status == 0 else { throw BenchError("the process that looks up ended with status \(status)") }
        return seconds
    }
}

extension PersistentHeap {
    fileprivate func close(committing message: String) throws {
        try commit(message: message)
        try close()
    }
}
