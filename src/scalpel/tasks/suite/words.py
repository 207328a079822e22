"""Names, things and topics that the generators of the suite draw from."""

NAMES = (
    "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Iris", "Jack", "Karen", "Leo", "Maria", "Noah",
    "Olivia", "Peter", "Quinn", "Rosa", "Sam", "Tina", "Victor", "Wendy", "Yusuf", "Zoe",
)  # fmt: skip
THINGS = (
    "apples", "balls", "books", "cards", "coins", "cookies", "flowers", "marbles", "pencils", "plates", "shells",
    "stamps", "stickers", "tickets", "toys",
)  # fmt: skip
NOUNS = (
    "apple", "basket", "bridge", "candle", "castle", "cloud", "corner", "desert", "dinner", "dragon", "engine",
    "farmer", "feather", "forest", "garden", "guitar", "hammer", "harbor", "island", "jacket", "kettle", "ladder",
    "lemon", "letter", "market", "mirror", "monkey", "needle", "ocean", "orange", "pencil", "pepper", "pillow",
    "planet", "pocket", "rabbit", "river", "saddle", "school", "shadow", "silver", "spider", "summer", "table",
    "temple", "tiger", "tunnel", "valley", "violin", "window", "winter", "yellow",
)  # fmt: skip
TOPICS = (
    "the sea", "winter", "bread", "a train journey", "cats", "the moon", "coffee", "mountains", "music", "a garden",
    "the city at night", "friendship", "old books", "rain", "bicycles", "the desert", "bees", "a market", "bridges",
    "birthdays", "trees", "a lighthouse", "football", "soup", "dreams", "rivers", "the wind", "clocks", "horses", "tea",
)  # fmt: skip
TOWNS = (
    "Ashwick", "Belmora", "Corvenna", "Dunhollow", "Eastmere", "Fenwick Bay", "Galdor", "Hartsfell", "Ivensk",
    "Jorvale", "Kestrel Point", "Lorimont", "Maristow", "Nettlebrook", "Oskarra", "Pellworth", "Quillan", "Ravensby",
    "Silverdyke", "Tarnmouth", "Umberleigh", "Velmont", "Westhaven", "Yarrowby", "Zellick",
)  # fmt: skip
FIRST = (
    "Adelmo", "Brisca", "Corvin", "Delphina", "Edrik", "Fenna", "Gustav", "Hesper", "Ilario", "Jorun", "Kaspian",
    "Lioba", "Marek", "Nerissa", "Orlo", "Petra", "Quentin", "Rosalba", "Silvan", "Tamsin", "Ulric", "Vesna",
    "Wendel", "Ysolde",
)  # fmt: skip
LAST = (
    "Abenroth", "Bellweather", "Castellane", "Dorrance", "Elmsworth", "Fairbrook", "Grenfell", "Holloway", "Iverson",
    "Jesper", "Kirchner", "Lindqvist", "Marchetti", "Novak", "Okafor", "Pemberton", "Quist", "Ravenel", "Sandoval",
    "Thackeray", "Underhill", "Vandermeer", "Whitlock", "Zimmer",
)  # fmt: skip
JOBS = (
    "baker", "beekeeper", "bookbinder", "carpenter", "clockmaker", "cook", "fisher", "gardener", "glassblower", "judge",
    "miner", "nurse", "painter", "pilot", "potter", "sailor", "shepherd", "smith", "tailor", "teacher", "weaver",
)  # fmt: skip
HOBBIES = (
    "chess", "fencing", "knitting", "photography", "sailing", "singing", "skating", "stargazing", "swimming", "archery",
    "cycling", "dancing", "painting", "pottery", "rowing",
)  # fmt: skip
PETS = ("cat", "dog", "goat", "horse", "parrot", "rabbit", "tortoise", "goose", "lizard", "pony")
