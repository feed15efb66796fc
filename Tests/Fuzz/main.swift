import Decoders
import Foundation

// Fuzzes a decoder by libFuzzer, which is linked in where the package is built with VARVE_FUZZ in the environment:
//
//     varve-fuzz seeds FOLDER              writes what a real store wrote, a folder for each decoder
//     varve-fuzz list                      the decoders' names
//     varve-fuzz DECODER [option …]        libFuzzer's options and folders

@_silgen_name("LLVMFuzzerRunDriver")
func runFuzzer(
    _ count: UnsafeMutablePointer<Int32>, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ feed: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

nonisolated(unsafe) var fuzzed = FuzzTarget.journalRecord

func feed(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    _ = fuzzed.feed(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

func writeSeeds(_ folder: String) throws {
    var counts: [FuzzTarget: Int] = [:]
    for (decoder, bytes) in try Seeds.all() {
        let own = folder + "/" + decoder.rawValue
        try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: true)
        try Data(bytes).write(to: URL(fileURLWithPath: own + "/seed-\(counts[decoder, default: 0])"))
        counts[decoder, default: 0] += 1
    }
}

switch CommandLine.arguments.dropFirst().first {
case "list": for decoder in FuzzTarget.allCases { print(decoder.rawValue) }
case "seeds" where CommandLine.arguments.count == 3: try writeSeeds(CommandLine.arguments[2])
case let name?:
    guard let decoder = FuzzTarget(rawValue: name) else {
        FileHandle.standardError.write(Data("varve-fuzz: there is no decoder \(name)\n".utf8))
        exit(64)
    }
    fuzzed = decoder
    var arguments = (CommandLine.arguments.prefix(1) + CommandLine.arguments.dropFirst(2)).map { strdup($0) } + [nil]
    var count = Int32(arguments.count - 1)
    let status = arguments.withUnsafeMutableBufferPointer { buffer in
        var start = buffer.baseAddress!
        return runFuzzer(&count, &start, feed)
    }
    exit(status)
case nil:
    FileHandle.standardError.write(Data("usage: varve-fuzz list | seeds FOLDER | DECODER [option …]\n".utf8))
    exit(64)
}
