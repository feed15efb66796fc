@testable import CrashLab
import TestSupport
import Testing

/// The log of a block device, from bytes as its format has them.
struct WriteLogTests {
    static let deviceSize = 1 << 20

    struct Entry {
        var sector: UInt64 = 0
        var count: UInt64 = 0
        var flags: UInt64 = 0
        var length: UInt64 = 0
        var data: [UInt8] = []
    }

    static func words(_ words: [UInt64]) -> [UInt8] { words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } } }

    static func sector(_ bytes: [UInt8], of size: Int = 512) -> [UInt8] { bytes + [UInt8](repeating: 0, count: size - bytes.count) }

    static func log(_ entries: [Entry], count: UInt64? = nil, sectorSize: Int = 512) -> [UInt8] {
        let header = words([0x006a_7366_7773_6872, 1, count ?? UInt64(entries.count)]) + words([UInt64(sectorSize)]).prefix(4)
        return sector(Array(header), of: sectorSize)
            + entries.flatMap { sector(words([$0.sector, $0.count, $0.flags, $0.length]), of: sectorSize) + $0.data }
    }

    static func write(_ sector: UInt64, _ bytes: UInt8..., flags: UInt64 = 0) -> Entry {
        Entry(sector: sector, count: UInt64(bytes.count), flags: flags, data: bytes.flatMap { [UInt8](repeating: $0, count: 512) })
    }

    static let flush = Entry(flags: 1)

    private static func decode(_ bytes: [UInt8]) throws -> WriteLog { try WriteLog(bytes, deviceSize: deviceSize) }

    // MARK: What it says

    @Test func requestsAreReadInTheirOrder() throws {
        let log = try Self.decode(Self.log([Self.write(16, 7, 8), Self.flush, Self.write(3, 9, flags: 2), Entry(sector: 40, count: 8, flags: 4)]))
        #expect(log.entries.map(\.place) == [8192..<9216, 0..<0, 1536..<2048, 20480..<24576])
        #expect(log.entries.map(\.isFlush) == [false, true, false, false])
        #expect(log.entries.map(\.isForced) == [false, false, true, false])
        #expect(log.entries.map(\.data) == [1024..<2048, 2560..<2560, 3072..<3584, nil])
        #expect(log.entries.map(\.offset) == [512, 2048, 2560, 3584] && log.end == 4096)
    }

    @Test func sectorsMayBeLarger() throws {
        let entry = Entry(sector: 2, count: 1, data: [UInt8](repeating: 5, count: 4096))
        let log = try Self.decode(Self.log([entry], sectorSize: 4096))
        #expect(log.entries.map(\.place) == [8192..<12288] && log.end == 12288)
    }

    @Test func whatIsBehindTheCountedEntriesIsNotRead() throws {
        let log = try Self.decode(Self.log([Self.write(0, 1), Self.flush], count: 1) + [1, 2, 3])
        #expect(log.entries.count == 1)
    }

    @Test func aMarkChangesNothing() throws {
        let log = try Self.decode(Self.log([Entry(flags: 8, length: 5), Self.flush]))
        #expect(log.entries.map(\.place) == [0..<0, 0..<0])
    }

    // MARK: Damage

    @Test func aDamagedLogIsRefused() {
        let whole = Self.log([Self.write(16, 7, 8), Self.flush])
        func expectRefused(_ bytes: [UInt8], _ what: Comment) { #expect(throws: LabError.self, what) { try Self.decode(bytes) } }
        for length in [0, 31, 512, 1023, 1500, whole.count - 1] { expectRefused(Array(whole[..<length]), "\(length) bytes of \(whole.count)") }
        func changed(_ offset: Int, _ word: UInt64) -> [UInt8] {
            var bytes = whole
            bytes.replaceSubrange(offset..<offset + 8, with: Self.words([word]))
            return bytes
        }
        expectRefused(changed(0, 1), "magic")
        expectRefused(changed(8, 2), "version")
        expectRefused(changed(16, 3), "more entries than there are")
        expectRefused(changed(16, .max), "more entries than there may be")
        for size: UInt64 in [0, 1, 511, 513, 1 << 20, 0xffff_ffff] { expectRefused(changed(24, size), "sector size \(size)") }
        for sector: UInt64 in [2047, 2048, 1 << 55, .max] { expectRefused(changed(512, sector), "sector \(sector)") }
        for count: UInt64 in [4, 2033, 1 << 55, .max] { expectRefused(changed(520, count), "\(count) sectors") }
        expectRefused(changed(528, 1 << 10), "flags")
        expectRefused(changed(536, 1), "a text where none is")
        expectRefused(Self.log([Entry(flags: 8, length: 481)]), "a text longer than its sector")
    }

    @Test func anyDamageIsAnErrorOrALog() {
        let seed = UInt64.random(in: 0..<1 << 40)
        print("seed \(seed)")
        var random = SplitMix(state: seed)
        let whole = Self.log([Self.write(16, 7, 8), Self.flush, Self.write(3, 9, flags: 3), Entry(sector: 40, count: 8, flags: 4)])
        for _ in 0..<5000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random) { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
            _ = try? Self.decode(bytes)
        }
    }

    // MARK: Epochs

    @Test func epochsLieBetweenFlushes() throws {
        let log = try Self.decode(Self.log([Self.write(0, 1), Self.flush, Self.write(1, 2), Self.write(2, 3), Self.write(3, 4, flags: 1), Self.write(4, 5)]))
        let epochs = log.epochs(from: 0)
        #expect(epochs.map(\.pending) == [0..<1, 1..<4, 4..<6])
        #expect(epochs.map(\.durable) == [0, 1, 4])
        #expect(epochs.map(\.end) == [log.entries[1].offset, log.entries[4].offset, log.end])
        #expect(log.epochs(from: log.entries[1].offset).map(\.pending) == [1..<4, 4..<6])
    }

    // MARK: Images

    private func images(_ entries: [Entry], epoch number: Int) throws -> [[UInt8]] {
        let folder = TemporaryFolder("write-log", inMemory: true)
        let path = folder.path + "/volume"
        try LabFile.write([UInt8](repeating: 0, count: 32768), to: path)
        let log = try WriteLog(Self.log(entries), deviceSize: 32768)
        let epoch = log.epochs(from: 0)[number]
        var volume = try BlockVolume(contentsOf: path)
        for entry in log.entries[..<epoch.durable] { volume.apply(entry, of: log) }
        var found: [[UInt8]] = []
        var random = SplitMix(state: UInt64.random(in: 0...UInt64.max))
        for _ in 0..<20 {
            try BlockCut(log, epoch, on: volume).forEach(&random) { (image) throws(LabError) in
                found.append(stride(from: 0, to: 32768, by: 512).map { image.volume.blocks[$0 / Block.size].bytes[$0 % Block.size] })
                return true
            }
        }
        return found
    }

    /// Sectors 0 and 1 are durable, 9 and 17 are pending.
    @Test func anImageHasWhatIsDurableAndAnyPartOfWhatIsPending() throws {
        let images = try images([Self.write(0, 1, 2), Self.flush, Self.write(9, 3), Self.write(17, 4), Self.flush, Self.write(30, 5)], epoch: 1)
        #expect(images.allSatisfy { $0[0] == 1 && $0[1] == 2 && $0[30] == 0 })
        #expect(Set(images.map { [$0[9], $0[17]] }) == [[0, 0], [3, 0], [0, 4], [3, 4]])
    }

    @Test func whatIsForcedIsOnEachImage() throws {
        let images = try images([Self.write(9, 3, flags: 2), Self.write(17, 4)], epoch: 0)
        #expect(images.allSatisfy { $0[9] == 3 } && Set(images.map { $0[17] }) == [0, 4])
    }

    @Test func laterRequestsComeOverEarlierOnes() throws {
        let images = try images([Self.write(9, 3), Self.write(9, 4), Entry(sector: 9, count: 1, flags: 4)], epoch: 0)
        #expect(Set(images.map { $0[9] }) == [0, 3, 4])
    }

    @Test func oneRequestIsTornBetweenSectors() throws {
        let images = try images([Self.write(8, 1, 2, 3, 4, 5, 6, 7, 8)], epoch: 0)
        #expect(images.allSatisfy { image in (0..<8).allSatisfy { [0, UInt8($0 + 1)].contains(image[8 + $0]) } })
        #expect(images.contains { $0[8..<16].contains(0) && $0[8..<16].contains { $0 != 0 } })
    }
}
