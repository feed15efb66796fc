import Decoders
import Foundation
import TestSupport
import Testing

/// Every decoder of what may be damaged, with a corpus, and with what is near it: it throws or decodes. That it does neither ends the
/// process; what it was given then is in the file that is printed first.
@Suite(.serialized) struct DecoderTests {
    private static let seed = ProcessInfo.processInfo.environment["VARVE_TEST_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0..<1 << 40)
    private static let mutations = Budget.of(quick: 2000, default: 10_000, full: 30_000)
    private static let corpus = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Corpus")

    private static func corpus(of decoder: FuzzTarget) throws -> [[UInt8]] {
        let folder = corpus.appendingPathComponent(decoder.rawValue).path
        return try FileManager.default.contentsOfDirectory(atPath: folder).sorted().map { [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/" + $0))) }
    }

    @Test(arguments: FuzzTarget.allCases) func theCorpusDoesNotTrap(decoder: FuzzTarget) throws {
        let corpus = try Self.corpus(of: decoder)
        #expect(!corpus.isEmpty)
        for bytes in corpus { _ = decoder.feed(bytes) }
    }

    /// What a store wrote is read, else the decoders are fed nothing that gets far.
    @Test func whatAStoreWroteIsDecoded() throws {
        let seeds = try Seeds.all()
        for decoder in FuzzTarget.allCases where decoder != .catalogRow {
            let own = seeds.filter { $0.decoder == decoder }
            #expect(!own.isEmpty && own.allSatisfy { decoder.feed($0.bytes) }, "\(decoder.rawValue): \(own.count)")
        }
        for seed in seeds where seed.decoder == .catalogRow { _ = seed.decoder.feed(seed.bytes) }
    }

    @Test(arguments: FuzzTarget.allCases) func mutationsDoNotTrap(decoder: FuzzTarget) throws {
        print("\(decoder.rawValue): seed \(Self.seed)")
        var random = SeededGenerator(seed: Self.seed)
        let corpus = try Self.corpus(of: decoder) + Seeds.all().filter { $0.decoder == decoder }.map(\.bytes)
        let count = decoder == .catalogRow ? Self.mutations / 20 : Self.mutations
        for _ in 0..<count { _ = decoder.feed(Mutation.of(corpus, &random)) }
    }
}
