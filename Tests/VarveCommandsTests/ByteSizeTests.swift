import Testing

@testable import VarveCommands

@Suite struct ByteSizeTests {
    @Test(arguments: [
        ("0", 0), ("1", 1), ("4096", 4096), ("4K", 4096), ("4k", 4096), ("4KiB", 4096), ("4KB", 4096), ("64M", 64 << 20),
        ("3G", 3 << 30), ("2T", 2 << 40), ("7B", 7), ("18446744073709551615", UInt64.max),
        ("16777215T", 16_777_215 << 40),
    ] as [(String, UInt64)])
    func sizesAreRead(_ text: String, _ bytes: UInt64) throws {
        #expect(try ByteSize.parse(text) == bytes)
    }

    @Test(arguments: [
        "", "K", "iB", "-1", "+1", "1.5M", "1 M", "1Q", "M1", "0x10", "1KK", "18446744073709551616", "16777216T",
        "99999999999999999999999G", "١", "1e3", "1KiBB",
    ])
    func otherTextIsRefused(_ text: String) {
        #expect(throws: (any Error).self) { try ByteSize.parse(text) }
    }

    @Test(arguments: [
        (0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (10 << 20, "10 MiB"), (1023 << 10, "1 MiB"),
        (12813, "12.5 KiB"), (UInt64.max, "16384 PiB"),
    ] as [(UInt64, String)])
    func sizesArePrinted(_ bytes: UInt64, _ text: String) {
        #expect(ByteSize.text(bytes) == text)
    }
}

@Suite struct TextTests {
    @Test func timesAreISO8601() {
        #expect(Times.iso8601(seconds: 0) == "1970-01-01T00:00:00.000Z")
        #expect(Times.iso8601(seconds: 1_772_366_400.25) == "2026-03-01T12:00:00.250Z")
        #expect(Times.iso8601(seconds: -0.5) == "1969-12-31T23:59:59.500Z")
        #expect(Times.iso8601(seconds: .infinity).hasPrefix("9999-"))
    }

    @Test func durationsHaveAUnit() {
        #expect(Times.duration(0.000_012) == "12 µs")
        #expect(Times.duration(0.0034) == "3.4 ms")
        #expect(Times.duration(2) == "2 s")
    }

    @Test func controlCharactersAreEscaped() {
        #expect(Printable.text("a\u{1b}[31mb\nc\td\u{202e}") == "a\\u{1b}[31mb\\nc\\td\\u{202e}")
        #expect(Printable.text("größe 日本") == "größe 日本")
    }

    @Test func jsonEscapes() {
        #expect(JSON.string("\"\\\n\u{1}é").text == #""\"\\\n\u0001é""#)
        #expect(JSON.object([("b", .null), ("a", .array([.integer(1), .bool(false)]))]).text == #"{"b":null,"a":[1,false]}"#)
        #expect(JSON.number(.nan).text == "null")
    }

    @Test func tablesAlign() {
        var table = Table(("A", .left), ("SIZE", .right))
        table.add("long name", "1")
        table.add("x", "12345")
        #expect(table.text == "A           SIZE\nlong name      1\nx          12345")
    }
}
