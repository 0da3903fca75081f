"""The long answers: stories with something to interrupt, and jokes. Our own texts, and nothing else."""

from __future__ import annotations

from typing import Final

STORIES: Final = {
    "fox": (
        "Once there was a young fox who lived at the edge of a forest. Every night he looked at the moon, and he "
        "wanted to touch it. One evening he climbed the highest hill. The moon was still far away. So he asked "
        "the owl for help. The owl said, go to the lake and wait. The fox went to the lake, and he sat down in "
        "the grass. The water was very quiet. There, in the middle of the lake, was the moon. He reached out with "
        "one paw, and the moon broke into a thousand lights. The fox laughed. Since that night he has never been "
        "sad, because he knows where to find the moon."
    ),
    "lighthouse": (
        "An old woman kept a lighthouse on a small island. Every evening she walked up the long stairs and lit "
        "the lamp. One winter a great storm came over the sea. The wind was so strong that the lamp went out. She "
        "lit it again, and again it went out. Then she heard a bell, far away in the dark. A ship was looking for "
        "the harbor. The woman took every candle in the house, and she put them behind the glass. The captain saw "
        "the warm light, and he turned his ship. In the morning the storm was over. Twenty sailors came to her "
        "door with bread and honey. They ate together, and nobody was cold."
    ),
    "robot": (
        "There was a little robot who worked in a big kitchen. All day long he washed plates and cups. He was "
        "fast and careful, but nobody ever spoke to him. One morning a girl came in, and she said good morning. "
        "The robot did not know what to say. He thought about it the whole day. In the evening he asked the radio "
        "for an answer. The radio said, good morning is a present, just give it back. The next day the girl came "
        "again. Good morning, said the robot, before she could open her mouth. She laughed, and they became "
        "friends. Now the robot says good morning to every plate."
    ),
    "river": (
        "Two brothers lived on two sides of a river. Long ago they had a fight about a boat, and they had not "
        "spoken for years. One spring the river rose higher and higher. It took the fence, and it took the "
        "garden. The older brother stood at his window, and he saw a light on the other side. His brother was "
        "waving a lamp. So he took the old boat, and he rowed across the dark water. They carried the chairs, the "
        "cat, and the clock up the hill. Then they sat down in the grass, and they watched the river. Nobody said "
        "a word about the boat. In summer they built a bridge. It is a small bridge, but it is very strong."
    ),
    "dragon": (
        "High in the mountains lived a dragon who was afraid of fire. The other dragons laughed at her. She could "
        "not cook, and she could not light a candle. But she could sing very well. One night the village below "
        "the mountain began to burn. All the dragons flew around, and they did not know what to do. The little "
        "dragon began to sing to the clouds. She sang so softly that the clouds came down to listen. Then it "
        "started to rain. It rained the whole night, and the fire went out. In the morning the people brought her "
        "flowers. Since then the dragons ask her for a song every evening."
    ),
}
"""Subject -> story."""

JOKES: Final = (
    "Why did the robot go to school? To get a little smarter.",
    "Why did the lamp stay at home? It felt a little dim.",
    "Why was the clock so tired? It had been running all day.",
    "What did the zero say to the eight? Nice belt.",
    "Why did the computer go to the doctor? It had a virus.",
)
