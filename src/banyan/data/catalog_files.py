"""The files of every data set in the catalog: name, rows, and the SHA-256 of the variant we know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a data set."""

    name: str
    num_rows: int | None  # None: not a file of rows
    sha256: str


FILES: Mapping[str, Mapping[str, DataFile]] = {
    "aeslc": {
        "train": DataFile("train.jsonl.gz", 13475, "5a7d0f9309045a3c6753071ac98c192f89b7c09bda80d3604b3abd73a319e00d"),
        "validation": DataFile(
            "validation.jsonl.gz", 1708, "7b8dd472f0776c145340e397bbaa556a39a9828308c4e2af96b6d76f6ae0f7cc"
        ),
        "test": DataFile("test.jsonl.gz", 883, "d9db7dc0ccd1089cc5d55c106302c0966d2c94b1cc9fd1da5780702210ce8e2a"),
    },
    "ag_news": {
        "train": DataFile("train.jsonl.gz", 18406, "8f4f680488a1da3770f6e9a869f137042c9582c7168a73619236ed6aee57e436"),
        "train_extra": DataFile(
            "train_extra.jsonl.gz", 8305, "e01ab1ddac7aea2cd529ef5e5c2a00a875f7a8f7a423e3f6867c6de116b1668b"
        ),
        "validation": DataFile(
            "validation.jsonl.gz", 1500, "905a1dfff25e1bd1ee4b0643818b416066e828c7b3b95ce705ea7c9f03dcb359"
        ),
        "test": DataFile("test.jsonl.gz", 3796, "b95fe0fa00b906e81f3f3e4aa19df06698030f4c01ca03c54480af2465c67da8"),
    },
    "chnsenticorp_hotel": {
        "train": DataFile("train.jsonl.gz", 5764, "f06a11f867f8bc827e55923f0f3ee89359ebbb612002d97add1b83eb34cc57ef"),
        "validation": DataFile(
            "validation.jsonl.gz", 500, "d0fbade9bdf66d987d6937ab49463701413aad590592a4fd560b1cec0f8ccfcd"
        ),
        "test": DataFile("test.jsonl.gz", 750, "819780f41ef256c2c4949c4d3a2fc9e87e9461d9381376e4f8b4b1c5a95c22fa"),
    },
    "cifar10": {
        "train": DataFile("train.parquet", 48000, "f3e3a4602fab3c91b925c6d78ac692ec3266dabf6c769b4ac32f7262363dcba9"),
        "validation": DataFile(
            "validation.parquet", 2000, "66a67ee36c5feee2aed19d06b77e06597b5ff840032dbb1ccb168a720e9d6dc2"
        ),
        "test": DataFile("test.parquet", 5000, "d95760ff5671d0f187246e184b4906e3a263c5a21dad58d42df3a45f3faa0b09"),
    },
    "cluener2020": {
        "train": DataFile("train.jsonl.gz", 10036, "6275541fd6d40cc651a5b8024ec3413e38648f5e449e0829c735665fc6b26fb2"),
        "validation": DataFile(
            "validation.jsonl.gz", 700, "10022468041d7bbad7d65549c00c5925884a7e0c66f7763226a871b965c3ad68"
        ),
        "test": DataFile("test.jsonl.gz", 671, "869f7d60ce744c78c84117af8722bb504930ba66f4da65cedec7ada2966d2e5f"),
    },
    "cmrc2018": {
        "train": DataFile("train.jsonl.gz", 2969, "bae17c61401c8b70d1c2fdc114ee308ae5b309134ee956225267df28d981c3ef"),
        "validation": DataFile(
            "validation.jsonl.gz", 255, "46d11c2f59c208040bef3a663f35d455dd0ded067b79f4367ab7408fde6359e6"
        ),
        "test": DataFile("test.jsonl.gz", 501, "d89141cd14d1b4cb7bbe5f9b3cf1b595f5e9eff1de35b916ef68c019f26cfa3c"),
    },
    "dialogsum": {
        "train": DataFile("train.jsonl.gz", 11278, "f362b068fb2408f58ddb243383a9ef7fb04fc30016eff5bd4757d6a459996321"),
        "validation": DataFile(
            "validation.jsonl.gz", 491, "e37f38860d802a4a8758c315786bfdf40676df8f7036a1090a83244a50157849"
        ),
        "test": DataFile("test.jsonl.gz", 249, "4590b6867d127333ced9ad8873ef863fa118216407531b45d7ae5905434eac4e"),
    },
    "eltec_eng": {
        "train": DataFile("train.jsonl.gz", 86, "1787a85540505d5a05710fff44cc7ed9f5096d327a364ac77f9cee21a700b025"),
        "validation": DataFile(
            "validation.jsonl.gz", 2, "479ec29c7c142bf4ab8cbf7ecb69b76f34587f0e24c8a46a93ceaf7f235e9db9"
        ),
        "test": DataFile("test.jsonl.gz", 4, "e93a7d789e04ea7468a8a2c12fa96091511e398221baf0b325561255b5aaf45f"),
    },
    "emoji64": {
        "train": DataFile("train.parquet", 1635, "a99311d1a41040f7c7f85f9b1720b7a3c1a6c160fa9e2990c380643281ded7fd"),
        "validation": DataFile(
            "validation.parquet", 102, "bec474c2b3236800721da77ff44c101f430c398e70e1e6cda1401944db667f90"
        ),
        "test": DataFile("test.parquet", 112, "9a3bdf9fb095478b5d0d27049cb704da22b6222f89ce70a98bee0916558a2649"),
    },
    "gpt2_tokenizer": {
        "merges": DataFile("merges.txt", None, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
        "vocab": DataFile("vocab.json", None, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),
    },
    "imdb": {
        "train": DataFile("train.jsonl.gz", 23778, "e7545c6ea5b24856170d4caaf78aa0180c5217b7b6600a9333e3c0998fcb1212"),
        "validation": DataFile(
            "validation.jsonl.gz", 1000, "1949fdb0480b4d90c7dacde09eb4a4aac87dff5e1ffa8b99be2fda90d525ae9c"
        ),
        "test": DataFile("test.jsonl.gz", 10000, "298a9f0323e1778c61788590d50c9dad3acf8a32ab7f53d546aab1329e8b4984"),
    },
    "instruct_en": {
        "train": DataFile("train.jsonl.gz", 785, "0c0c36e5e8109b44af75df9a4e4e69982735b44df7578191653cef61b5a3bff3"),
        "validation": DataFile(
            "validation.jsonl.gz", 50, "8898628932f1476235fdd8173618f57b59659c75810e672e28857013eee7e0d0"
        ),
        "test": DataFile("test.jsonl.gz", 50, "ab553504f97ca7403eeb7cf547daed5a408dbe58a4984af7f3ae35f52fc2f718"),
    },
    "instruct_zh": {
        "train": DataFile("train.jsonl.gz", 792, "cbaf2964c5d93475453af00d3db914efe92cd37da524e55ffbed516992abcd3d"),
        "validation": DataFile(
            "validation.jsonl.gz", 50, "f3f1ec8367e83be879a7ab61af29dfd70790989de198abaa4335124255733c4c"
        ),
        "test": DataFile("test.jsonl.gz", 50, "597c3fd5f666be9d2246258f6694c5694e9d92e4024c63d5ad1feb052071e881"),
    },
    "multi30k_en_de": {
        "train": DataFile("train.jsonl.gz", 29000, "f94416cba679dd001191860e1e8b501522cb98adfd90e3564bbc7efd16c50c79"),
        "validation": DataFile(
            "validation.jsonl.gz", 1014, "5d621e7919f7ea717d6c902a826c5e1a90488c2c33b5b7bd80ba4b4f4a019f6d"
        ),
        "test": DataFile("test.jsonl.gz", 1000, "679510df5dec9f4d8391fd6316a0f36d40dee8327def5a5c45cce3a530ace79c"),
    },
    "preference_en": {
        "train": DataFile("train.jsonl.gz", 235, "bf808bc4a84e815ed20e0e427781f1d7a8c9f8011c6c215b8f86ed1a39f9de48"),
        "validation": DataFile(
            "validation.jsonl.gz", 30, "8ef6b78e2762eb44f3b1c0bb95f9f9fcdfd8decaf87572b8e4d48ead770522e5"
        ),
    },
    "preference_zh": {
        "train": DataFile("train.jsonl.gz", 223, "e6d507b99447ee03a9827ea0fbbd6e8380bb5f81f3954d9d22840fcecac391c8"),
        "validation": DataFile(
            "validation.jsonl.gz", 30, "22ce94a34756e7c17fdc1c0afc03952b42169866bf07a15d270dfbfd99d83bd3"
        ),
    },
    "sgd_dialogue": {
        "train": DataFile("train.jsonl.gz", 12174, "7c2188e1ee1fe1b90869551f8d1f8367a57c64ccc8a4f02b8737165969a578be"),
        "validation": DataFile(
            "validation.jsonl.gz", 1200, "820f54de28ce4638e1dc319c39efe5140d5d680049f3e48ac21ba6b8ce260cf2"
        ),
        "test": DataFile("test.jsonl.gz", 1200, "f8ef623cf8c69f3a853283f8e93a4ed03cec5fa7df91189bc55eb92aad18f9ca"),
    },
    "sst2": {
        "train": DataFile("train.jsonl.gz", 53465, "e1ac5081d2f176d61446687bc9964cd12ab87bdd57f8d878f8f637ad4fa6e071"),
        "validation": DataFile(
            "validation.jsonl.gz", 5106, "e6c3a2528faa48e2e178e0e5a0098649bf99dd0caec180b1d311b18b11a5246c"
        ),
        "test": DataFile("test.jsonl.gz", 436, "c82eb0b8f6844a00c0f8aeff8af666d9f88dcc336a2058a6fd18cdf352ae59a7"),
    },
    "stories260K": {
        "reference": DataFile(
            "reference.json", None, "f8a93e8bed177cbacc51b43f5429af0cf438927670995510c2e7bb66f767f07f"
        ),
        "stories260K": DataFile(
            "stories260K.bin", None, "b0a507e7ad0f626624f17112325e66691f9076d622e1d3274d103d00299f2696"
        ),
        "tok512": DataFile("tok512.bin", None, "037cb335abb25d1fa9e8ecae30ed2a3a8ace9302862ebcdc05d51a6bbb10c312"),
    },
    "subjqa": {
        "train": DataFile("train.jsonl.gz", 2688, "13510ad9701122298ca9f12edf5c043d64f2d33b370b5343e4b787dd4e706bd2"),
        "validation": DataFile(
            "validation.jsonl.gz", 648, "1193eaa5228d487a3c28fbca5518b470f4088727410e84c8d0638e93eb950ee0"
        ),
        "test": DataFile("test.jsonl.gz", 723, "440ee262965b91128762286eeeb1020da58d7e1d9352807f34a62ca0e5ad1688"),
    },
    "tatoeba_en_zh": {
        "train": DataFile("train.jsonl.gz", 19038, "edf53a6f1e7c85562f91145be98ff1317ed9ba8be2d28474455c127d361253cb"),
        "validation": DataFile(
            "validation.jsonl.gz", 1000, "b5d92d1bb0f6b5b8c36e7176fb583fbacf655b7e7bbebbe7201f4f536d2b1d02"
        ),
        "test": DataFile("test.jsonl.gz", 1000, "cb8753c8a0c203ce2ea127692533e98469653d113a94878cdcbda31c24159eff"),
    },
    "thucnews_titles": {
        "train": DataFile("train.jsonl.gz", 11933, "b81ed2211878e598edcef95cf1366e9ca19db793fbd1a72320f4cadcc5cd2f52"),
        "validation": DataFile(
            "validation.jsonl.gz", 500, "00bb1258fd7f0548e94cfe1521036e77da6d3cd447b49340ccad2c0c2bc65890"
        ),
        "test": DataFile("test.jsonl.gz", 2500, "4c292857ae9b8254e74004588c73e0d782f83b9b44ed25c84bf79e21d40d1354"),
    },
    "tinyshakespeare": {
        "train": DataFile("train.txt", 1, "a9e24e23a1ec77744dad26844bfd5a09b6e041954e1eef0000e7f24cba6db735"),
        "validation": DataFile("validation.txt", 1, "c64e90c160750d91a9d2d9b1ace5eab1a440f5a1701d32a8e97a179b7839f1c8"),
    },
    "toolcall_en": {
        "train": DataFile("train.jsonl.gz", 202, "741e147d8cee94c06544814e429849207f8654410169282613aa42d38d43a118"),
        "validation": DataFile(
            "validation.jsonl.gz", 30, "021cd1e4369d172d8ccf962b91c6c85584e3a46c40491963857aa041d2a12c6c"
        ),
    },
    "toolcall_zh": {
        "train": DataFile("train.jsonl.gz", 197, "e683c427e0bc80faff938eebc9ac7159447ac7b3e2e21a32f80f5b5bc65d30ae"),
        "validation": DataFile(
            "validation.jsonl.gz", 30, "003289aaef5101335a7b904c66b9bc35c76b3d5b939b9dede955d7775c9d9a54"
        ),
    },
    "trec": {
        "train": DataFile("train.jsonl.gz", 4865, "7bb8957e01e0ce10fa33752bffc998448924c18ba7c06a4b98cd24d51c5fe01b"),
        "validation": DataFile(
            "validation.jsonl.gz", 500, "84afa938aa55cc645b5ddb19e0a8d8a0e3352c36b454e136ea8c0bc4587c8648"
        ),
        "test": DataFile("test.jsonl.gz", 250, "9a80a9ecedf4125c393ecb0dc65330a18217cdb7f839eaf27009349bc886bcf5"),
    },
    "wikitext2_small": {
        "validation": DataFile("validation.txt", 1, "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8"),
        "test": DataFile("test.txt", 1, "51ccd7331c1ff3544c264235660f511b441ded23b53e502a12539bd618f2c364"),
    },
    "wnut17": {
        "train": DataFile("train.conll", 3394, "1cf455647d19303423e31976257ef6a9e7f0afcec770a2060c07f8774ff2f4cf"),
        "validation": DataFile(
            "validation.conll", 1009, "86e01441aae63150f076c3bcb0230506e0f967072b62a337f0451d4be9c4bf92"
        ),
        "test": DataFile("test.conll", 643, "b668d82218695e3a7192245f317633da0b8c047d105ab44245477a5c1acab5af"),
    },
    "xquad_en": {
        "train": DataFile("train.jsonl.gz", 733, "3c3d46780897eea17317a8f3af17f2ba03980b42c2cc4d774e3989da67d96689"),
        "validation": DataFile(
            "validation.jsonl.gz", 110, "2726d7e62635fec01a7123d553dc8902e475a8bc5c9b7259a6bac37923bd3b06"
        ),
        "test": DataFile("test.jsonl.gz", 175, "ebc73a7712d7b73db0985966df3ba4fbd30dbbcf912eacf750f8b78399f2cab8"),
    },
    "xquad_zh": {
        "train": DataFile("train.jsonl.gz", 733, "a24e94d94faf6a70ebe0d332849853b6e8f602361213e4c997fbe4990fd79e9f"),
        "validation": DataFile(
            "validation.jsonl.gz", 110, "1f665b1f7d4e20c066a4240152c2367c752e76a14a5b6c0cd5f196b82737ce82"
        ),
        "test": DataFile("test.jsonl.gz", 175, "08f8910e84abd34e4d449fdc51d23d5d111ca2b7e5ad060b70441f65f3f89b9d"),
    },
    "zh_poetry": {
        "train": DataFile("train.jsonl.gz", 41864, "69fbfe55dee21a25f7ea777a76fffe15086de591034f4b53a1bec6784a69aa4e"),
        "validation": DataFile(
            "validation.jsonl.gz", 920, "fdfdcb41227109e3c621726a3f90c97f65e1d38a0786bc92db49c41c275eeb09"
        ),
        "test": DataFile("test.jsonl.gz", 920, "07832ba1c21b3504033943c73aa9f3e9b1868887725abb68d20ad8bfac99b34e"),
    },
    "zh_prose": {
        "train": DataFile("train.jsonl.gz", 1264, "694f7f8c2401fd7eb9b4b5c03573c54abfff243df68c8f5aaa5657ca7a4c7a29"),
        "validation": DataFile(
            "validation.jsonl.gz", 20, "7cf1af7fde52696986a0ecbb50208ecde6f573c01374d19d02eb5c037bc0af4d"
        ),
        "test": DataFile("test.jsonl.gz", 21, "de4280d095a5c700d4bf06b1c1b7aaaf604a1a76dfe2a0f92ddd1e43f41dd19b"),
    },
    "zh_shopping_reviews": {
        "train": DataFile("train.jsonl.gz", 45521, "3b816d936ad82dcc505c73ad9e1aa92aff7eba37d879f45581d4feabdd1c2fc0"),
        "validation": DataFile(
            "validation.jsonl.gz", 1500, "9603872a2bf0998b12901a81ef6b79e16c1e3fe292257faef457f4097ac521bf"
        ),
        "test": DataFile("test.jsonl.gz", 2500, "ddb8893f279393ef6860e5e7117c86ef12bbece77305ae42539ffd8bd209a6f6"),
    },
}
