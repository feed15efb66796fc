internal import CCrashAdapters
internal import CrashLab
internal import FoundationEssentials
internal import Glibc
internal import Varve

/// What the lab can test, and the library that records it.
enum CrashlabAdapters {
    static let names = ["varve"] + others

    /// Those that are not ours.
    private static var others: [String] {
        var names: [String] = []
        while let name = crash_adapter_name(Int32(names.count)) { names.append(String(cString: name)) }
        return names
    }

    /// Runs another store's adapter; its exit status.
    static func run(_ store: String, _ arguments: [String]) -> Int32 {
        let copies = arguments.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        return copies.map { UnsafePointer($0) }.withUnsafeBufferPointer { crash_adapter_run(store, Int32($0.count), $0.baseAddress) }
    }

    /// One of ours by its name, else a program and its arguments, separated by spaces.
    static func find(_ name: String, _ console: Console) throws -> Adapter {
        let program = try executable(console)
        if names.contains(name) {
            let command = [program, "crashlab", "adapter", name]
            var adapter = Adapter(command)
            adapter.inspect = command + ["inspect"]
            adapter.serve = command + ["serve"]
            if name == "varve" {
                adapter.failpoints = "VARVE_FAILPOINT"
                adapter.inspectSmall = command + ["inspect-small"]
            }
            return adapter
        }
        let words = name.split(separator: " ").map(String.init)
        guard !words.isEmpty else {
            throw CommandFailure.usage(message: "an adapter's name is empty", advice: "Name one of \(names.joined(separator: ", ")), or a program")
        }
        var adapter = Adapter(words)
        adapter.serve = [program, "crashlab", "serve"] + words
        return adapter
    }

    /// Where the recording library is: beside this program, or where an installation puts it.
    static func recorder(_ console: Console) throws -> String {
        let file = "libvarve-crash-recorder.so"
        let folder = (try executable(console)).split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let places = [folder + "/" + file, folder + "/../lib/varve/" + file]
        for place in places where access(place, R_OK) == 0 { return CrashlabScratch.absolute(place) }
        throw StoreError(
            .notFound, "the library that records is not there",
            advice: "`swift build --product varve-crash-recorder` makes it beside varve", path: places[0])
    }

    private static func executable(_ console: Console) throws -> String {
        guard let path = realpath(console.executable ?? "/proc/self/exe", nil) else { throw StoreError.system("this program could not be found", errno: errno) }
        defer { free(path) }
        return String(cString: path)
    }
}

/// A folder for a lab's images, in memory where there is some; removed with the last reference to it.
final class CrashlabScratch {
    let path: String

    /// In `folder`, where one is given.
    init(in folder: String? = nil) throws {
        let parent = folder.map(Self.absolute) ?? (access("/dev/shm", W_OK) == 0 ? "/dev/shm" : FileManager.default.temporaryDirectory.path)
        var name = Array("\(parent)/varve-crashlab.XXXXXX".utf8CString)
        guard mkdtemp(&name) != nil else { throw StoreError.system("a folder could not be made", path: parent, errno: errno) }
        path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    static func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    }
}
