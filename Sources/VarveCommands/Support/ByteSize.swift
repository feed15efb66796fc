internal import ArgumentParser

/// Sizes as people write and read them.
enum ByteSize {
    private static let units = ["K", "M", "G", "T"]

    /// `4096`, `64K`, `1G`, `2TiB`: a whole number and possibly a unit, powers of 1,024.
    static func parse(_ text: String) throws -> UInt64 {
        let digits = text.prefix { ("0"..."9").contains($0) }
        var unit = text.dropFirst(digits.count).uppercased()
        for ending in ["IB", "B"] where unit.hasSuffix(ending) && (unit.count > ending.count || ending == "B") {
            unit.removeLast(ending.count)
            break
        }
        guard !digits.isEmpty, unit.isEmpty || units.contains(unit) else {
            throw ValidationError("'\(text)' is no size: give a whole number of bytes, or one with K, M, G or T, as 64M.")
        }
        let shift = unit.isEmpty ? 0 : 10 * (units.firstIndex(of: unit)! + 1)
        guard let number = UInt64(digits), number <= UInt64.max >> UInt64(shift) else {
            throw ValidationError("'\(text)' exceeds what 64 bits can count: give a smaller size.")
        }
        return number << UInt64(shift)
    }

    /// `0 B`, `512 B`, `1.5 KiB`, `64 MiB`: three digits that matter.
    static func text(_ bytes: UInt64) -> String {
        guard bytes >= 1024 else { return "\(bytes) B" }
        var value = Double(bytes) / 1024
        var unit = 0
        // 999.5 would print with four digits.
        while value >= 999.5 && unit < units.count {
            value /= 1024
            unit += 1
        }
        let names = units + ["P"]
        let digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0
        return "\(fixed(value, digits: digits)) \(names[unit])iB"
    }

    static func text(_ bytes: Int) -> String { text(UInt64(max(0, bytes))) }

    /// `value` with at most `digits` decimals, without zeros at the end.
    static func fixed(_ value: Double, digits: Int) -> String {
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = (value * scale).rounded()
        let whole = Int(scaled / scale)
        var fraction = String(Int(scaled) - whole * Int(scale))
        fraction = String(repeating: "0", count: max(0, digits - fraction.count)) + fraction
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return digits == 0 || fraction.isEmpty ? "\(whole)" : "\(whole).\(fraction)"
    }
}
