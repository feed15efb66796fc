@testable import PageStore
import Testing

/// XXH3 of 64 bits, of all bytes; the expected numbers are those of the reference implementation.
@Suite struct ChecksumTests {
    private static let page = (0..<4096).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 >> 8) }

    @Test func pagesHaveTheChecksumOfTheFormat() {
        #expect(Checksum.zeroPage == 0x93d76fe148c689ba)
        #expect(Checksum.of([UInt8](repeating: 0, count: 4096)) == 0x93d76fe148c689ba)
        #expect(Checksum.of(Self.page) == 0x5c722d9ceb6f9064)
        Self.page.withUnsafeBytes { #expect(Checksum.of($0.baseAddress!, count: $0.count) == 0x5c722d9ceb6f9064) }
    }

    @Test func everyByteOfAPageCounts() {
        var bytes = Self.page
        let sum = Checksum.of(bytes)
        for index in bytes.indices {
            bytes[index] ^= 0x10
            #expect(Checksum.of(bytes) != sum, "byte \(index)")
            bytes[index] ^= 0x10
        }
    }
}
