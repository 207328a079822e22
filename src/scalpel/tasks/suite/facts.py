"""Knowledge of the world, asked in several forms. The capitals are those of the package countryinfo 1.0.1 (all 112),
the symbols those of periodictable 2.1.0 (all 66)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from scalpel.tasks.suite.judges import mentions
from scalpel.tasks.suite.suite_task import FEW, Draft, suite_task

CAPITALS = {
    "Afghanistan": "Kabul", "Albania": "Tirana", "Algeria": "Algiers", "Angola": "Luanda",
    "Argentina": "Buenos Aires", "Armenia": "Yerevan", "Australia": "Canberra", "Austria": "Vienna",
    "Azerbaijan": "Baku", "Bahrain": "Manama", "Bangladesh": "Dhaka", "Barbados": "Bridgetown", "Belarus": "Minsk",
    "Belgium": "Brussels", "Bhutan": "Thimphu", "Botswana": "Gaborone", "Brazil": "Brasilia", "Bulgaria": "Sofia",
    "Cambodia": "Phnom Penh", "Canada": "Ottawa", "Chad": "N'Djamena", "Chile": "Santiago", "China": "Beijing",
    "Colombia": "Bogota", "Croatia": "Zagreb", "Cuba": "Havana", "Cyprus": "Nicosia", "Denmark": "Copenhagen",
    "Ecuador": "Quito", "Egypt": "Cairo", "Eritrea": "Asmara", "Estonia": "Tallinn", "Ethiopia": "Addis Ababa",
    "Fiji": "Suva", "Finland": "Helsinki", "France": "Paris", "Georgia": "Tbilisi", "Germany": "Berlin",
    "Ghana": "Accra", "Greece": "Athens", "Guyana": "Georgetown", "Haiti": "Port-au-Prince", "Hungary": "Budapest",
    "Iceland": "Reykjavik", "India": "New Delhi", "Indonesia": "Jakarta", "Iran": "Tehran", "Iraq": "Baghdad",
    "Ireland": "Dublin", "Italy": "Rome", "Jamaica": "Kingston", "Japan": "Tokyo", "Jordan": "Amman",
    "Kenya": "Nairobi", "Laos": "Vientiane", "Latvia": "Riga", "Lebanon": "Beirut", "Liberia": "Monrovia",
    "Libya": "Tripoli", "Lithuania": "Vilnius", "Madagascar": "Antananarivo", "Malawi": "Lilongwe",
    "Malaysia": "Kuala Lumpur", "Mali": "Bamako", "Malta": "Valletta", "Moldova": "Chisinau",
    "Mongolia": "Ulaanbaatar", "Morocco": "Rabat", "Mozambique": "Maputo", "Namibia": "Windhoek",
    "Nepal": "Kathmandu", "New Zealand": "Wellington", "Nicaragua": "Managua", "Niger": "Niamey", "Nigeria": "Abuja",
    "Norway": "Oslo", "Oman": "Muscat", "Pakistan": "Islamabad", "Paraguay": "Asuncion", "Peru": "Lima",
    "Philippines": "Manila", "Poland": "Warsaw", "Portugal": "Lisbon", "Qatar": "Doha", "Romania": "Bucharest",
    "Russia": "Moscow", "Rwanda": "Kigali", "Saudi Arabia": "Riyadh", "Senegal": "Dakar", "Serbia": "Belgrade",
    "Slovakia": "Bratislava", "Slovenia": "Ljubljana", "Somalia": "Mogadishu", "South Korea": "Seoul",
    "Spain": "Madrid", "Sudan": "Khartoum", "Sweden": "Stockholm", "Switzerland": "Bern", "Syria": "Damascus",
    "Thailand": "Bangkok", "Togo": "Lome", "Tunisia": "Tunis", "Turkey": "Ankara", "Uganda": "Kampala",
    "Ukraine": "Kyiv", "Uruguay": "Montevideo", "Uzbekistan": "Tashkent", "Venezuela": "Caracas", "Vietnam": "Hanoi",
    "Yemen": "Sanaa", "Zambia": "Lusaka", "Zimbabwe": "Harare",
}  # fmt: skip
SPELT = {
    "Bogota": ("Bogotá",), "Brasilia": ("Brasília",), "Asuncion": ("Asunción",), "Lome": ("Lomé",),
    "Kyiv": ("Kiev",), "Sanaa": ("Sana'a",), "Reykjavik": ("Reykjavík",), "New Delhi": ("Delhi",),
    "Chisinau": ("Chișinău",), "Ulaanbaatar": ("Ulan Bator",), "Bern": ("Berne",),
}  # fmt: skip
ELEMENTS = {
    "hydrogen": "H", "helium": "He", "lithium": "Li", "beryllium": "Be", "boron": "B", "carbon": "C", "nitrogen": "N",
    "oxygen": "O", "fluorine": "F", "neon": "Ne", "sodium": "Na", "magnesium": "Mg", "aluminum": "Al", "silicon": "Si",
    "phosphorus": "P", "sulfur": "S", "chlorine": "Cl", "argon": "Ar", "potassium": "K", "calcium": "Ca",
    "scandium": "Sc", "titanium": "Ti", "vanadium": "V", "chromium": "Cr", "manganese": "Mn", "iron": "Fe",
    "cobalt": "Co", "nickel": "Ni", "copper": "Cu", "zinc": "Zn", "gallium": "Ga", "germanium": "Ge", "arsenic": "As",
    "selenium": "Se", "bromine": "Br", "krypton": "Kr", "rubidium": "Rb", "strontium": "Sr", "yttrium": "Y",
    "zirconium": "Zr", "niobium": "Nb", "molybdenum": "Mo", "ruthenium": "Ru", "rhodium": "Rh", "palladium": "Pd",
    "silver": "Ag", "cadmium": "Cd", "indium": "In", "tin": "Sn", "antimony": "Sb", "tellurium": "Te", "iodine": "I",
    "xenon": "Xe", "cesium": "Cs", "barium": "Ba", "tungsten": "W", "platinum": "Pt", "gold": "Au", "mercury": "Hg",
    "lead": "Pb", "bismuth": "Bi", "radon": "Rn", "radium": "Ra", "thorium": "Th", "uranium": "U", "plutonium": "Pu",
}  # fmt: skip
PAST = {
    "begin": "began", "bite": "bit", "blow": "blew", "break": "broke", "bring": "brought", "build": "built",
    "buy": "bought", "catch": "caught", "choose": "chose", "come": "came", "dig": "dug", "draw": "drew",
    "drink": "drank", "drive": "drove", "eat": "ate", "fall": "fell", "feel": "felt", "fight": "fought",
    "find": "found", "fly": "flew", "forget": "forgot", "freeze": "froze", "give": "gave", "go": "went",
    "grow": "grew", "hear": "heard", "hide": "hid", "hold": "held", "keep": "kept", "know": "knew", "leave": "left",
    "lose": "lost", "meet": "met", "ride": "rode", "ring": "rang", "rise": "rose", "run": "ran", "see": "saw",
    "sell": "sold", "send": "sent", "shake": "shook", "shine": "shone", "sing": "sang", "sink": "sank",
    "sleep": "slept", "speak": "spoke", "spend": "spent", "stand": "stood", "steal": "stole", "swim": "swam",
    "take": "took", "teach": "taught", "tear": "tore", "tell": "told", "think": "thought", "throw": "threw",
    "wake": "woke", "wear": "wore", "win": "won", "write": "wrote",
}  # fmt: skip
OPPOSITES = {
    "hot": "cold", "big": "small", "up": "down", "early": "late", "fast": "slow", "rich": "poor", "full": "empty",
    "hard": "soft", "heavy": "light", "high": "low", "left": "right", "long": "short", "near": "far", "new": "old",
    "open": "closed", "strong": "weak", "thick": "thin", "top": "bottom", "true": "false", "wet": "dry",
    "wide": "narrow", "day": "night", "north": "south", "east": "west", "win": "lose", "buy": "sell", "push": "pull",
    "begin": "end", "inside": "outside", "above": "below", "always": "never", "before": "after", "love": "hate",
    "same": "different", "clean": "dirty", "young": "old", "bright": "dark", "loud": "quiet", "safe": "dangerous",
    "cheap": "expensive",
}  # fmt: skip
CYCLES = (
    ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
     "December"),
)  # fmt: skip
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ASKED = {
    "capital": (CAPITALS, ("What is the capital of {0}?", "Name the capital city of {0}.",
                           "Which city is the capital of {0}?")),
    "symbol": (ELEMENTS, ("What is the chemical symbol of {0}?", "Give the chemical symbol for {0}.")),
    "past": (PAST, ("What is the past tense of the verb \"{0}\"?", "Give the simple past of \"to {0}\".")),
    "opposite": (OPPOSITES, ("What is the opposite of \"{0}\"?", "Give the antonym of \"{0}\".")),
}  # fmt: skip


@suite_task("capitals", mentions, FEW)
def capitals(random: Random) -> Draft:
    """Countries and their capitals."""
    return asked_of(random, "capital")


@suite_task("common-knowledge", mentions, FEW)
def common_knowledge(random: Random) -> Draft:
    """Chemical symbols, past tenses, opposites, days, months and letters."""
    kind = random.choice(("symbol", "past", "opposite", "order"))
    return order(random) if kind == "order" else asked_of(random, kind)


def asked_of(random: Random, kind: str) -> Draft:
    table, forms = ASKED[kind]
    what = random.choice(tuple(table))
    answer = table[what]
    return Draft(f"{kind}/{what}", random.choice(forms).format(what), answer, {"also": SPELT.get(answer, ())})


def order(random: Random) -> Draft:
    """What comes before or after, in the week, the year or the alphabet."""
    cycle: Sequence[str] = random.choice((*CYCLES, LETTERS))
    at = random.randrange(1, len(cycle) - 1)
    step, said = random.choice(((1, "after"), (-1, "before")))
    kind = "letter" if cycle is LETTERS else "day" if len(cycle) == 7 else "month"
    text = f"Which {kind} comes right {said} {cycle[at]}?"
    return Draft(f"order/{cycle[at]}/{said}", text, cycle[at + step])
